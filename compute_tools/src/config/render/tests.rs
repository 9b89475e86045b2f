use super::*;

fn rendered(conf: &str, mode: ComputeMode) -> PostgresConfig {
    let cluster = Cluster { postgresql_conf: Some(conf.to_owned()), ..Default::default() };
    let safekeepers = [ConnectOptions {
        options: vec!["-c".into(), "timeline_id=a".into(), "tenant_id=b".into()],
        ..ConnectOptions::new("sk", 5454)
    }];
    let input = RenderInput {
        cluster: &cluster,
        mode,
        major: PgMajor::V18,
        safekeepers: &safekeepers,
        port: 55432,
    };
    render(input).unwrap()
}

/// The value that counts: the last one.
fn effective(config: &PostgresConfig, name: &str) -> Option<String> {
    let settings = parse_conf(&config.text).unwrap();
    settings.into_iter().rev().find(|s| s.name == name).map(|s| s.value)
}

#[test]
fn the_user_overrides_defaults_but_not_requirements() {
    let config = rendered("fsync=on\nport=7\nwal_sender_timeout=5s", ComputeMode::Primary);
    assert_eq!(effective(&config, "fsync").unwrap(), "on");
    assert_eq!(effective(&config, "port").unwrap(), "7");
    assert_eq!(effective(&config, "wal_sender_timeout").unwrap(), "0");
    assert_eq!(config.dropped, ["wal_sender_timeout"]);
}

#[test]
fn a_primary_waits_for_the_proposer_even_after_alter_system() {
    let config = rendered("", ComputeMode::Primary);
    assert!(config.pinned.contains(&("synchronous_standby_names", "walproposer")));
}

#[test]
fn logical_wal_level_stands() {
    let config = rendered("wal_level=logical", ComputeMode::Primary);
    assert_eq!(effective(&config, "wal_level").unwrap(), "logical");
    assert_eq!(effective(&rendered("", ComputeMode::Primary), "wal_level").unwrap(), "replica");
}

#[test]
fn a_replica_streams_from_the_safekeepers() {
    let config = rendered("primary_conninfo='host=other'", ComputeMode::Replica);
    assert_eq!(
        effective(&config, "primary_conninfo").unwrap(),
        "host=sk port=5454 options='-c timeline_id=a tenant_id=b' application_name=replica"
    );
}

#[test]
fn a_static_endpoint_has_no_source_of_wal() {
    let mode = ComputeMode::Static(utils::Lsn(8));
    let config = rendered("recovery_target_lsn='0/8'", mode);
    assert_eq!(effective(&config, "primary_conninfo"), None);
    assert_eq!(effective(&config, "recovery_target_lsn"), None);
}

#[test]
fn passwords_are_asked_for_once() {
    let text = pg_hba("host all all all md5\n", "admin");
    assert_eq!(text.matches("md5").count(), 1);
    assert_eq!(pg_hba("", "admin").matches("md5").count(), 1);
}

#[test]
fn a_replica_is_told_how_to_encrypt() {
    let sk = ConnectOptions::parse(
        "postgresql://sk:5454?sslmode=verify-full&sslrootcert=/etc/it's/ca.crt",
    );
    let conninfo = primary_conninfo(&[sk.unwrap()]);
    let expected = r"sslmode=verify-full sslrootcert='/etc/it\'s/ca.crt'";
    assert!(conninfo.contains(expected), "{conninfo}");
    assert!(!primary_conninfo(&[ConnectOptions::new("sk", 5454)]).contains("ssl"));
}

#[test]
fn tablespaces_may_be_directories_in_every_mode() {
    let modes = [ComputeMode::Primary, ComputeMode::Replica, ComputeMode::Static(utils::Lsn(8))];
    for mode in modes {
        let config = rendered("", mode);
        assert_eq!(effective(&config, "allow_in_place_tablespaces").unwrap(), "on", "{mode:?}");
    }
}
