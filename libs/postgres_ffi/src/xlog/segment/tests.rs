use super::*;
use crate::version::PgMajor;

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V16, system_id: 9 };

#[test]
fn names_split_the_number_after_256_segments() {
    assert_eq!(segment_file_name(1), "000000010000000000000001");
    assert_eq!(segment_file_name(0x1FF), "0000000100000001000000FF");
    assert_eq!(parse_segment_file_name("0000000100000001000000FF"), Some((0x1FF, false)));
    assert_eq!(parse_segment_file_name(&partial_segment_file_name(3)), Some((3, true)));
}

#[test]
fn other_names_are_not_segments() {
    for name in ["", "00000002.history", "000000020000000000000001", "0000000100000000000001FF"] {
        assert_eq!(parse_segment_file_name(name), None, "{name}");
    }
}

#[test]
fn a_position_on_the_first_page_is_pretended_in_the_long_header() {
    let image = segment_start_image(IDENTITY, Lsn(0x100_0000 + 100));
    let header = PageHeader::parse(&image, Lsn(0x100_0000), 0xD113).unwrap();
    assert_eq!(header.remaining_length, 60);
    assert_eq!(header.info, 0x3);
}

#[test]
fn a_position_on_a_later_page_is_pretended_in_its_short_header() {
    let image = segment_start_image(IDENTITY, Lsn(0x100_2000 + 64));
    let first = PageHeader::parse(&image, Lsn(0x100_0000), 0xD113).unwrap();
    assert_eq!((first.info, first.remaining_length), (0x2, 0));
    let page = PageHeader::parse(&image[0x2000..], Lsn(0x100_2000), 0xD113).unwrap();
    assert_eq!((page.info, page.remaining_length), (0x1, 40));
}

#[test]
fn a_position_on_a_page_boundary_continues_nothing() {
    let image = segment_start_image(IDENTITY, Lsn(0x100_2000));
    let page = PageHeader::parse(&image[0x2000..], Lsn(0x100_2000), 0xD113).unwrap();
    assert_eq!((page.info, page.remaining_length), (0, 0));
    let image = segment_start_image(IDENTITY, Lsn(0x200_0000));
    let first = PageHeader::parse(&image, Lsn(0x200_0000), 0xD113).unwrap();
    assert_eq!((first.info, first.remaining_length), (0x2, 0));
}
