use super::*;

const T: &str = "0123456789abcdef0123456789abcdef";
const L: &str = "fedcba9876543210fedcba9876543210";

fn error(text: &str) -> String {
    Command::parse(text).unwrap_err().to_string()
}

#[test]
fn set_is_recognised_in_any_case() {
    assert_eq!(Command::parse("SeT datestyle TO iso"), Ok(Command::Set));
}

#[test]
fn a_basebackup_takes_an_lsn_and_then_the_gzip_flag() {
    let (tenant, timeline) = (T.parse().unwrap(), L.parse().unwrap());
    let parsed = Command::parse(&format!("basebackup {T} {L} 0/169AD58 --gzip"));
    let lsn = Some(Lsn(0x169_AD58));
    assert_eq!(parsed, Ok(Command::Basebackup { tenant, timeline, lsn, gzip: true }));
    let text = error(&format!("basebackup {T} {L} 0/169AD58 gzip"));
    assert_eq!(text, "Parameter in position 3 unknown gzip");
}

#[test]
fn the_last_record_may_be_awaited() {
    let (tenant, timeline) = (T.parse().unwrap(), L.parse().unwrap());
    let parsed = Command::parse(&format!("get_last_record_rlsn {T} {L} 0/20"));
    let awaited = Some(Lsn(0x20));
    assert_eq!(parsed, Ok(Command::GetLastRecordRlsn { tenant, timeline, awaited }));
    let parsed = Command::parse(&format!("get_last_record_rlsn {T} {L}"));
    assert_eq!(parsed, Ok(Command::GetLastRecordRlsn { tenant, timeline, awaited: None }));
}

#[test]
fn a_fullbackup_takes_both_lsns() {
    let (tenant, timeline) = (T.parse().unwrap(), L.parse().unwrap());
    let parsed = Command::parse(&format!("fullbackup {T} {L} 0/20 0/10"));
    let (lsn, prev) = (Some(Lsn(0x20)), Some(Lsn(0x10)));
    assert_eq!(parsed, Ok(Command::Fullbackup { tenant, timeline, lsn, prev }));
}

#[test]
fn wrong_parameter_counts_are_told() {
    assert_eq!(error(&format!("pagestream_v2 {T}")), "invalid param number for pagestream command");
    assert_eq!(error("basebackup"), "invalid param number for basebackup command");
    assert_eq!(error("show"), "invalid param number for config command");
    assert_eq!(error("lease lsn x"), "invalid param number 1 for lease lsn command");
}

#[test]
fn a_bad_id_is_told_with_its_cause() {
    assert!(
        error(&format!("pagestream_v2 xyz {L}"))
            .starts_with("Failed to parse tenant id from xyz: ")
    );
    assert!(
        error(&format!("basebackup {T} {L} 0-1")).starts_with("Failed to parse Lsn from 0-1: ")
    );
}

#[test]
fn an_unknown_verb_is_told() {
    assert_eq!(error("do_gc now"), "unknown command do_gc now");
}

#[test]
fn a_lease_names_a_shard() {
    let parsed = Command::parse(&format!("lease lsn {T}-0102 {L} 0/10")).unwrap();
    assert_eq!(parsed.tenant(), Some(T.parse().unwrap()));
    assert!(matches!(parsed, Command::LeaseLsn { shard, .. } if shard.shard_number.0 == 1));
}
