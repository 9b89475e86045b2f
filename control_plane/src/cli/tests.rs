use clap::CommandFactory;

use super::*;

fn accepts(line: &str) -> bool {
    let words = std::iter::once("neon_local").chain(line.split_whitespace());
    Cli::try_parse_from(words).is_ok()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn documented_command_lines_are_accepted() {
    let tenant = "--tenant-id 9ef87a5bf0d92544f6fafeeb3239695c";
    let timeline = "--timeline-id de200bd42b49cc1814412c7e592dd6e9";
    for line in [
        "init --num-pageservers 2 --force remove-all-contents --pg-version 16",
        "init --config file.toml --force empty-dir-ok",
        "start -t 30s",
        "stop -m immediate",
        "tenant list",
        &format!("tenant create {tenant} {timeline} -c gc_period:1h -c gc_horizon:1 --set-default"),
        &format!("tenant set-default {tenant}"),
        "tenant config -c gc_period:1h",
        &format!("timeline list {tenant}"),
        &format!("timeline list {tenant}-0001"),
        "timeline create --branch-name b --pg-version 17",
        "timeline branch --branch-name b --ancestor-branch-name main --ancestor-start-lsn 0/16B5A50",
        "pageserver --id 2 start",
        "pageserver start --id=2 -t 60s",
        "pageserver stop -m immediate --id=2",
        "pageserver restart",
        "pageserver status",
        "safekeeper start 2 -e=--partial-backup-enabled -t 60s",
        "safekeeper start --safekeeper-extra-opt --enable-offload",
        "safekeeper stop 2 -m immediate",
        "safekeeper restart 3",
        "storage_broker start",
        "storage_broker stop -m fast",
        "endpoint create ep --branch-name main --pg-port 1 --http-port 2 --hot-standby true",
        "endpoint create --lsn 0/8 --update-catalog false --config-only --pageserver-id 1",
        "endpoint create ep --allow-multiple --pg-version 18",
        "endpoint start ep --safekeepers 1,2 --create-test-user true --pageserver-id 1",
        "endpoint reconfigure ep --safekeepers 1,2",
        "endpoint stop ep --destroy --mode immediate",
        "endpoint delete ep",
        "endpoint list",
        &format!("mappings map --branch-name main {tenant} {timeline}"),
        "pg list --anything",
        "status",
    ] {
        assert!(accepts(line), "{line}");
    }
}

#[test]
fn other_versions_of_postgres_are_refused() {
    assert_eq!(parse_pg_version("17"), Ok(PgMajor::V17));
    assert!(parse_pg_version("14").unwrap_err().contains("Unsupported postgres version: 14"));
    assert!(!accepts("timeline create --branch-name b --pg-version 14"));
}

#[test]
fn causes_are_told_once() {
    let inner = anyhow::anyhow!("disk is full");
    let quoted = inner.context("could not write: disk is full").context("init failed");
    assert_eq!(describe(&quoted), "init failed: could not write: disk is full");
    let plain = anyhow::anyhow!("disk is full").context("could not write");
    assert_eq!(describe(&plain), "could not write: disk is full");
}
