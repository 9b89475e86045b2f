//! Text forms of identifiers.

use super::*;

#[test]
fn either_case_is_read_and_lower_case_is_written() {
    let id: TenantId = "AABBCCDDEEFF00112233445566778899".parse().unwrap();
    assert_eq!(id.to_string(), "aabbccddeeff00112233445566778899");
}

#[test]
fn wrong_length_is_refused() {
    for text in ["", "aa", "aabbccddeeff0011223344556677889", "zabbccddeeff00112233445566778899"] {
        assert!(text.parse::<TimelineId>().is_err(), "{text}");
    }
}
