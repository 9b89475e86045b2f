//! Crashes at every kind of place; what is found must be a record boundary that is not before
//! anything acknowledged.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use postgres_ffi::xlog::RawRecord;
use proptest::prelude::*;
use wal_quorum::storage::WalStorage;

use super::super::testing::*;
use super::*;

/// Writes the records from `start` on, crashes, and checks that all of them are found.
fn check_found(start: Lsn, records: &[RawRecord]) {
    let dir = TestDir::new();
    let mut storage = dir.fresh(start);
    let bytes = wal(start, records);
    let end = start + bytes.len() as u64;
    storage.write(start, &bytes).unwrap();
    assert_eq!(storage.write_record_lsn(), end);
    let crashed = dir.copy();
    assert_eq!(find_end_of_wal(&crashed.segments(), MAJOR, start).unwrap(), end);
    assert_eq!(crashed.open(start).flush_record_lsn(), end);
}

/// How many bytes of message make a record end exactly at the end of the page it starts on.
fn message_up_to(distance: u64) -> RawRecord {
    (0..distance as usize)
        .map(message)
        .find(|record| record.to_bytes(Lsn::INVALID).len().next_multiple_of(8) == distance as usize)
        .expect("some length fits")
}

#[test]
fn a_plain_end_is_found() {
    check_found(start_at(0x1000), &[message(10), message(20_000), message(30)]);
}

#[test]
fn nothing_after_the_commit_position_is_an_end_too() {
    let dir = TestDir::new();
    assert_eq!(find_end_of_wal(&dir.segments(), MAJOR, start_at(0)).unwrap(), start_at(0));
    assert_eq!(dir.open(start_at(0)).flush_record_lsn(), start_at(0));
}

#[test]
fn a_log_switch_at_the_end_is_found() {
    check_found(start_at(0x1000), &[message(10), RawRecord::switch()]);
}

#[test]
fn a_log_switch_that_ends_on_a_page_boundary_is_found() {
    let start = start_at(0x1000);
    let filler = message_up_to(0x1000 - 24);
    let records = [filler, RawRecord::switch()];
    assert_eq!(wal(start, &records[..1]).len(), 0x1000 - 24);
    check_found(start, &records);
}

#[test]
fn a_record_that_ends_on_a_page_boundary_is_found() {
    check_found(start_at(0x1000), &[message_up_to(0x1000)]);
}

#[test]
fn a_last_record_that_crosses_into_the_next_segment_is_found() {
    check_found(start_at(SEGMENT_SIZE - 0x1000), &[message(0x5000)]);
}

#[test]
fn a_small_record_after_a_crossing_one_is_found() {
    check_found(start_at(SEGMENT_SIZE - 0x1000), &[message(0x5000), message(5)]);
}

#[test]
fn a_record_that_ends_with_its_segment_is_found() {
    let start = start_at(SEGMENT_SIZE - 0x1000);
    check_found(start, &[message_up_to(0x1000)]);
}

#[test]
fn a_crossing_record_without_its_second_half_ends_before_it() {
    let dir = TestDir::new();
    let start = start_at(SEGMENT_SIZE - 0x1000);
    let mut storage = dir.fresh(start);
    let first = wal(start, &[message(100)]);
    let both = wal(start, &[message(100), message(0x5000)]);
    storage.write(start, &both).unwrap();
    fs::remove_file(dir.segments().partial_path(2)).unwrap();
    let found = find_end_of_wal(&dir.segments(), MAJOR, start).unwrap();
    assert_eq!(found, start + first.len() as u64);
}

#[test]
fn a_half_made_segment_is_not_wal() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    fs::write(dir.path.join("waltmp"), &bytes).unwrap();
    assert_eq!(dir.open(start).flush_record_lsn(), start + bytes.len() as u64);
}

#[test]
fn a_short_segment_ends_the_scan() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let first = wal(start, &[message(100)]);
    storage.write(start, &wal(start, &[message(100), message(100)])).unwrap();
    let file = fs::File::options().write(true).open(dir.segments().partial_path(1)).unwrap();
    file.set_len(0x1000 + first.len() as u64 + 10).unwrap();
    let found = find_end_of_wal(&dir.segments(), MAJOR, start).unwrap();
    assert_eq!(found, start + first.len() as u64);
}

/// A power failure: pages above the flushed position may or may not have reached the disk.
fn lose_pages(dir: &TestDir, flushed: Lsn, written: Lsn, lost: &[bool]) {
    let pages = (flushed.page_start().0..written.0).step_by(8192).map(Lsn);
    for (page, lost) in pages.zip(lost.iter().cycle()) {
        let from = page.max(flushed);
        let path = dir.segments().partial_path(segno(from));
        let path = if path.exists() { path } else { dir.segments().complete_path(segno(from)) };
        if *lost && path.exists() {
            let mut file = fs::File::options().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(from.segment_offset(SEGMENT_SIZE))).unwrap();
            file.write_all(&vec![0; (page + 8192 - from) as usize]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever was acknowledged survives, what is found was really written, and the storage
    /// goes on from there.
    #[test]
    fn acknowledged_wal_survives_a_crash_at_any_point(
        offset in (0u64..SEGMENT_SIZE / 8).prop_map(|n| n * 8),
        near_end in any::<bool>(),
        sizes in proptest::collection::vec(1usize..30_000, 1..12),
        cuts in proptest::collection::vec(1usize..20_000, 1..20),
        flush_every in 1usize..5,
        lost in proptest::collection::vec(any::<bool>(), 1..20),
    ) {
        let offset = if near_end { SEGMENT_SIZE - 8 * (1 + offset % 4000) } else { offset };
        let start = start_at(offset).max(start_at(40)).0.max(start_at(offset).page_start().0 + 40);
        let start = Lsn(start).align();
        let records: Vec<_> = sizes.iter().map(|size| message(*size)).collect();
        let bytes = wal(start, &records);
        let mut boundaries = vec![start];
        for count in 1..=records.len() {
            boundaries.push(start + wal(start, &records[..count]).len() as u64);
        }
        let dir = TestDir::new();
        let mut storage = dir.fresh(start);
        let mut written = 0;
        for (index, cut) in cuts.iter().enumerate() {
            let next = (written + cut).min(bytes.len());
            storage.write(start + written as u64, &bytes[written..next]).unwrap();
            written = next;
            if index % flush_every == 0 {
                storage.flush().unwrap();
            }
        }
        let flushed = storage.flush_record_lsn();
        let crashed = dir.copy();
        lose_pages(&crashed, flushed, start + written as u64, &lost);
        let mut recovered = crashed.open(start);
        let found = recovered.flush_record_lsn();
        prop_assert!(found >= flushed && found <= storage.write_record_lsn());
        prop_assert!(boundaries.contains(&found));
        recovered.truncate(found).unwrap();
        let rest = &bytes[(found - start) as usize..];
        recovered.write(found, rest).unwrap();
        recovered.flush().unwrap();
        prop_assert_eq!(recovered.flush_record_lsn(), start + bytes.len() as u64);
        prop_assert_eq!(crashed.open(start).flush_record_lsn(), start + bytes.len() as u64);
    }
}
