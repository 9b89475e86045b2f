use super::*;

fn check(query: &str, start: u64, term: Option<u64>) {
    let expected = Command::StartReplication { start: Lsn(start), term };
    assert_eq!(query.parse::<Command>().unwrap(), expected, "{query}");
}

#[test]
fn a_stock_standby_is_understood() {
    check("START_REPLICATION 0/3000000 TIMELINE 1", 0x300_0000, None);
    check("START_REPLICATION SLOT \"a_slot\" 1/3000000 TIMELINE 1", 0x1_0300_0000, None);
}

#[test]
fn a_pageserver_is_understood() {
    check("START_REPLICATION PHYSICAL 0/16b9188", 0x16B_9188, None);
}

#[test]
fn a_term_after_the_position_is_understood() {
    check("START_REPLICATION PHYSICAL 0/16B9188 (term='7')", 0x16B_9188, Some(7));
    check("START_REPLICATION SLOT s PHYSICAL 0/8 (term='7')", 8, Some(7));
}

#[test]
fn a_term_elsewhere_is_ignored() {
    check("START_REPLICATION PHYSICAL 0/8  (term='7')", 8, None);
    check("START_REPLICATION PHYSICAL 0/8 (TERM='7')", 8, None);
}

#[test]
fn a_malformed_position_is_an_error_that_quotes_the_command() {
    for query in ["START_REPLICATION", "START_REPLICATION PHYSICAL x", "START_REPLICATION  0/8"] {
        let error = query.parse::<Command>().unwrap_err().to_string();
        assert!(error.starts_with("failed to parse START_REPLICATION command"), "{error}");
    }
}

#[test]
fn anything_after_start_wal_push_is_ignored() {
    let command = "START_WAL_PUSH (proto_version '2')".parse::<Command>().unwrap();
    assert_eq!(command, Command::StartWalPush);
}

#[test]
fn an_unknown_command_is_refused() {
    assert_eq!("select 1".parse::<Command>(), Err(CommandError::Unsupported("select 1".into())));
    assert!("identify_system".parse::<Command>().is_err());
}

#[test]
fn settings_are_case_insensitive_and_may_end_with_a_semicolon() {
    let command = "SHOW Wal_Segment_Size;".parse::<Command>().unwrap();
    assert_eq!(command, Command::Show("wal_segment_size".into()));
}
