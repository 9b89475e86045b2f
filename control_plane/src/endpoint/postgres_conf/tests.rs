use utils::{Lsn, TenantId, TimelineId};

use super::*;
use crate::endpoint::tests::endpoint_conf;

fn conf(mode: ComputeMode) -> EndpointConf {
    EndpointConf {
        mode,
        tenant_id: TenantId::from_bytes([1; 16]),
        timeline_id: TimelineId::from_bytes([2; 16]),
        ..endpoint_conf("ep")
    }
}

fn text(mode: ComputeMode) -> String {
    let connection = |port| PrimaryConnection { host: "localhost".to_owned(), port };
    render(&settings(&conf(mode), &[connection(5454), connection(5455)], &ClientTls::default()))
}

#[test]
fn values_are_quoted_when_they_must_be() {
    for (value, expected) in [
        ("10", "10"),
        ("-1", "-1"),
        ("1MB", "1MB"),
        ("off", "off"),
        ("walproposer", "walproposer"),
        ("v2", "v2"),
        ("", "''"),
        ("-", "'-'"),
        ("1.5", "'1.5'"),
        ("127.0.0.1", "'127.0.0.1'"),
        ("two words", "'two words'"),
        ("a'b\\c\nd", "'a''b\\\\c\\nd'"),
        ("with_underscore", "'with_underscore'"),
    ] {
        assert_eq!(quote(value), expected);
    }
}

#[test]
fn a_primary_waits_for_the_walproposer() {
    let text = text(ComputeMode::Primary);
    for line in
        ["port=55432", "listen_addresses='127.0.0.1'", "synchronous_standby_names=walproposer"]
    {
        assert!(text.lines().any(|known| known == line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn nothing_a_stock_server_does_not_know_is_written() {
    for mode in [ComputeMode::Primary, ComputeMode::Static(Lsn(8)), ComputeMode::Replica] {
        let text = text(mode);
        for foreign in ["neon", "max_replication_write_lag", "recovery_target_lsn"] {
            assert!(!text.contains(foreign), "{foreign} in:\n{text}");
        }
    }
}

#[test]
fn a_replica_follows_the_safekeepers() {
    let text = text(ComputeMode::Replica);
    let expected = format!(
        "primary_conninfo='host=localhost,localhost port=5454,5455 options=''-c timeline_id={} \
         tenant_id={}'' application_name=replica replication=true'",
        "02".repeat(16),
        "01".repeat(16)
    );
    assert!(text.lines().any(|line| line == expected), "{text}");
}
