use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};

use super::*;

const START: Lsn = Lsn(0x150_0028);

fn builder() -> WalBuilder {
    WalBuilder::new(WalIdentity { major: PgMajor::V15, system_id: 7 }, START, Lsn::INVALID)
}

fn checkpoint_with_redo(redo: Lsn) -> RawRecord {
    let checkpoint = CheckPoint { redo, this_timeline_id: 1, ..Default::default() };
    RawRecord::shutdown_checkpoint(&checkpoint)
}

#[test]
fn the_record_of_the_redo_pointer_is_found_behind_others() {
    let mut wal = builder();
    let redo = wal.append(&RawRecord::logical_message("test", &[7; 20_000]));
    wal.append(&checkpoint_with_redo(Lsn(8)));
    wal.append(&RawRecord::logical_message("test", b"more"));
    let expected = wal.append(&checkpoint_with_redo(redo));
    let mut search = CheckpointSearch::new(redo, PgMajor::V15);
    let mut found = None;
    for chunk in wal.bytes().chunks(1000) {
        found = found.or(search.feed(chunk).unwrap());
    }
    let found = found.unwrap();
    assert_eq!(found.lsn, expected);
    assert_eq!(found.checkpoint.redo, redo);
}

#[test]
fn a_record_behind_a_page_boundary_starts_after_the_header() {
    let mut wal = builder();
    let redo = wal.lsn();
    // Records until the next one begins exactly on a page.
    while wal.lsn().page_offset() != 0 {
        let left = wal.lsn().remaining_in_page() as usize;
        let overhead = RawRecord::logical_message("p", b"").to_bytes(Lsn(0)).len();
        let size = left.saturating_sub(overhead).min(100);
        wal.append(&RawRecord::logical_message("p", &vec![1; size]));
        if left > 1 << 13 {
            break;
        }
    }
    let expected = wal.append(&checkpoint_with_redo(redo));
    let found = CheckpointSearch::new(redo, PgMajor::V15).feed(wal.bytes()).unwrap().unwrap();
    assert_eq!(found.lsn, expected);
}

#[test]
fn without_the_record_there_is_nothing() {
    let mut wal = builder();
    let redo = wal.append(&RawRecord::logical_message("test", b"x"));
    assert_eq!(CheckpointSearch::new(redo, PgMajor::V15).feed(wal.bytes()).unwrap(), None);
}
