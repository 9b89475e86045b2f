use super::*;

#[test]
fn geometry_is_postgresqls() {
    assert_eq!(CLOG_XACTS_PER_PAGE, 32_768);
    assert_eq!(MULTIXACT_GROUPS_PER_PAGE, 409);
    assert_eq!(MULTIXACT_MEMBERS_PER_PAGE, 1636);
    assert_eq!(MAX_MEMBERS_SEGMENT, 82_040);
    assert_eq!(COMMIT_TS_XACTS_PER_PAGE, 819);
}

#[test]
fn clog_pages_are_compared_on_the_circle() {
    assert!(clog_page_precedes(1, 2));
    assert!(!clog_page_precedes(2, 1));
    assert!(!clog_page_precedes(2, 2));
    let last_page = u32::MAX / CLOG_XACTS_PER_PAGE;
    assert!(clog_page_precedes(last_page, 0));
}

#[test]
fn a_segment_may_go_only_when_its_last_page_is_older() {
    assert!(clog_segment_may_go(0, 32));
    assert!(!clog_segment_may_go(0, 31));
    assert!(!clog_segment_may_go(1, 32));
}

#[test]
fn commit_timestamp_pages_go_on_at_zero_after_the_last() {
    assert_eq!(commit_ts_pages(700, 700).collect::<Vec<_>>(), [0]);
    assert_eq!(commit_ts_pages(818, 1638).collect::<Vec<_>>(), [0, 1, 2]);
    let last = u32::MAX / 819;
    assert_eq!(commit_ts_pages(u32::MAX - 800, 3).collect::<Vec<_>>(), [last - 1, last, 0]);
}

#[test]
fn a_commit_timestamp_segment_may_go_only_when_its_last_page_is_older() {
    assert!(commit_ts_segment_may_go(0, 32));
    assert!(!commit_ts_segment_may_go(0, 31));
    assert!(!commit_ts_segment_may_go(1, 32));
}

#[test]
fn segment_names_are_upper_case_hexadecimal() {
    assert_eq!(slru_segment_file_name(0x1A), "001A");
    assert_eq!(parse_slru_segment_file_name("001A"), Some(0x1A));
    assert_eq!(parse_slru_segment_file_name("14078"), Some(0x14078));
    assert_eq!(parse_slru_segment_file_name("001a"), None);
    assert_eq!(parse_slru_segment_file_name("x"), None);
}
