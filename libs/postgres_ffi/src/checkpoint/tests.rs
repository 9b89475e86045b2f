use proptest::prelude::*;

use super::*;

#[test]
fn members_lie_at_their_offsets() {
    let checkpoint = CheckPoint {
        redo: Lsn(0x11),
        full_page_writes: true,
        wal_level: 2,
        next_xid: 7 << 32 | 1024,
        oldest_multi_db: 5,
        time: 1_700_000_000,
        oldest_active_xid: 999,
        ..CheckPoint::default()
    };
    let bytes = checkpoint.encode();
    assert_eq!(bytes[0], 0x11);
    assert_eq!(bytes[16], 1);
    assert_eq!(bytes[20], 2);
    assert_eq!(bytes[24..32], (7u64 << 32 | 1024).to_le_bytes());
    assert_eq!(bytes[56], 5);
    assert_eq!(bytes[64..72], 1_700_000_000i64.to_le_bytes());
    assert_eq!(bytes[80..84], 999u32.to_le_bytes());
}

#[test]
fn next_xid_is_rounded_up_and_never_goes_back() {
    let mut checkpoint = CheckPoint { next_xid: 726, ..CheckPoint::default() };
    assert!(checkpoint.advance_next_xid(730));
    assert_eq!(checkpoint.next_xid, 1024);
    assert!(!checkpoint.advance_next_xid(1000));
    assert!(checkpoint.advance_next_xid(1024));
    assert_eq!(checkpoint.next_xid, 2048);
}

#[test]
fn next_xid_wraps_into_the_next_epoch() {
    let mut checkpoint = CheckPoint { next_xid: 0xFFFF_FC00, ..CheckPoint::default() };
    assert!(checkpoint.advance_next_xid(0xFFFF_FFF0));
    assert_eq!(checkpoint.next_xid, 1 << 32 | 3);
}

#[test]
fn pages_that_rounding_led_past_are_named() {
    let pages = |newest_commit_ts_xid, next_xid| {
        let checkpoint = CheckPoint { newest_commit_ts_xid, next_xid, ..CheckPoint::default() };
        checkpoint.skipped_commit_ts_pages().collect::<Vec<_>>()
    };
    assert_eq!(pages(0, 1024), [1], "none has a timestamp");
    assert_eq!(pages(1500, 2048), [1, 2]);
    assert_eq!(pages(817, 1024), [0, 1]);
    assert_eq!(pages(3, 102_400), [123, 124, 125], "the others exist");
    assert_eq!(pages(u32::MAX - 5, 1 << 32 | 3), [u32::MAX / 819, 0]);
}

proptest! {
    #[test]
    fn any_88_bytes_decode_and_encode_to_the_same_members(bytes in prop::collection::vec(any::<u8>(), 88)) {
        let checkpoint = CheckPoint::decode(&bytes).unwrap();
        prop_assert_eq!(CheckPoint::decode(&checkpoint.encode()).unwrap(), checkpoint);
    }

    #[test]
    fn fewer_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..88)) {
        prop_assert!(CheckPoint::decode(&bytes).is_err());
    }
}
