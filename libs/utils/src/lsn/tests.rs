//! Text form and arithmetic of [`Lsn`].

use super::*;
use proptest::prelude::*;

const SEGMENT: u64 = 16 * 1024 * 1024;

#[test]
fn text_form_has_no_padding() {
    assert_eq!(Lsn(0x16B9188).to_string(), "0/16B9188");
    assert_eq!(Lsn(0x1_0000_000A).to_string(), "1/A");
}

#[test]
fn malformed_text_is_refused() {
    for text in ["", "/", "1", "1/", "/1", "1/G", "1/123456789", "+1/2", "1/2/3"] {
        assert_eq!(text.parse::<Lsn>(), Err(LsnParseError(text.to_owned())));
    }
}

#[test]
fn normalising_skips_page_headers() {
    assert_eq!(Lsn(2 * SEGMENT).normalize(SEGMENT), Lsn(2 * SEGMENT + 40));
    assert_eq!(Lsn(SEGMENT + 8192).normalize(SEGMENT), Lsn(SEGMENT + 8192 + 24));
    assert_eq!(Lsn(SEGMENT + 8193).normalize(SEGMENT), Lsn(SEGMENT + 8200));
}

proptest! {
    #[test]
    fn text_form_round_trips(value: u64) {
        prop_assert_eq!(Lsn(value).to_string().parse::<Lsn>(), Ok(Lsn(value)));
    }
}
