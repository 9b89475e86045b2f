use proptest::prelude::*;

use super::*;
use crate::version::PgMajor;

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V15, system_id: 0x1122 };

#[test]
fn a_segment_starts_with_a_long_header() {
    let bytes = encode_page_header(IDENTITY, Lsn(0x100_0000), 7, 0);
    assert_eq!(bytes.len(), 40);
    let header = PageHeader::parse(&bytes, Lsn(0x100_0000), 0xD110).unwrap();
    assert_eq!(header.system_id, Some(0x1122));
    assert_eq!(header.remaining_length, 7);
    assert!(header.is_continuation());
}

#[test]
fn other_pages_have_a_short_header() {
    let bytes = encode_page_header(IDENTITY, Lsn(0x100_2000), 0, XLP_FIRST_IS_OVERWRITE_CONTRECORD);
    assert_eq!(bytes.len(), 24);
    let header = PageHeader::parse(&bytes, Lsn(0x100_2000), 0xD110).unwrap();
    assert!(!header.is_continuation());
    assert!(header.overwrites_continuation());
}

#[test]
fn a_page_of_another_place_or_version_is_refused() {
    let bytes = encode_page_header(IDENTITY, Lsn(0x100_2000), 0, 0);
    assert_eq!(
        PageHeader::parse(&bytes, Lsn(0x100_4000), 0xD110),
        Err(PageHeaderError::PageAddress(Lsn(0x100_2000)))
    );
    assert!(matches!(
        PageHeader::parse(&bytes, Lsn(0x100_2000), 0xD113),
        Err(PageHeaderError::Magic { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
        let _ = PageHeader::parse(&bytes, Lsn(0), 0xD110);
    }
}
