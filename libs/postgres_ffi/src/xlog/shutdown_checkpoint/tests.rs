use proptest::prelude::*;

use super::*;
use crate::version::PgMajor;
use crate::xlog::page_header::PageHeader;

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V15, system_id: 9 };

fn at(start: u64) -> ShutdownCheckpoint {
    ShutdownCheckpoint::new(IDENTITY, Lsn(start), Lsn(start - 64), &CheckPoint::default())
}

#[test]
fn the_record_takes_114_bytes_padded_to_120() {
    let made = at(0x100_0100);
    assert_eq!(made.position, Lsn(0x100_0100));
    assert_eq!(made.end, Lsn(0x100_0100 + 120));
    assert_eq!(made.wal[..4], 114u32.to_le_bytes());
    assert_eq!(made.wal[24..26], [0xFF, 0x58]);
}

#[test]
fn a_page_boundary_moves_the_record_past_the_header() {
    assert_eq!(at(0x100_2000).position, Lsn(0x100_2018));
    assert_eq!(at(0x200_0000).position, Lsn(0x200_0028));
    assert_eq!(at(0x200_0000).checkpoint.redo, Lsn(0x200_0028));
}

#[test]
fn a_record_over_a_segment_end_needs_two_files() {
    let segments = at(0x200_0000 - 64).segments();
    assert_eq!(segments.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    let header = PageHeader::parse(&segments[1].1, Lsn(0x200_0000), 0xD110).unwrap();
    assert_eq!(header.remaining_length, 114 - 64);
    assert!(segments.iter().all(|(_, bytes)| bytes.len() == WAL_SEGMENT_SIZE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn segments_hold_the_wal_at_its_place(slot in 2u64..0x20_0000) {
        let start = 0x100_0000 + slot * 8;
        prop_assume!(start.is_multiple_of(8192) || start % 8192 >= 40);
        let made = at(start);
        let whole: Vec<u8> = made.segments().into_iter().flat_map(|(_, bytes)| bytes).collect();
        let offset = (start - 0x100_0000) as usize;
        let from = if offset == 0x100_0000 { 0 } else { offset };
        prop_assert_eq!(&whole[from..from + made.wal.len()], made.wal.as_slice());
    }
}
