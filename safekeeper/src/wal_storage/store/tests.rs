use std::sync::Arc;
use std::{fs, io};

use camino::Utf8Path;

use super::super::testing::*;
use super::*;
use crate::durability::Durability;
use crate::files::{Access, DiskFile, FileSystem, PendingFile};

fn positions(storage: &FileWalStorage) -> (Lsn, Lsn, Lsn) {
    (storage.write_lsn, storage.write_record_lsn, storage.flush_record_lsn)
}

#[test]
fn only_a_flush_makes_records_durable() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100), message(200)]);
    let end = start + bytes.len() as u64;
    storage.write(start, &bytes).unwrap();
    assert_eq!(positions(&storage), (end, end, start));
    storage.flush().unwrap();
    assert_eq!(positions(&storage), (end, end, end));
}

#[test]
fn half_a_record_is_written_but_not_flushed() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let first = wal(start, &[message(100)]);
    let both = wal(start, &[message(100), message(200)]);
    storage.write(start, &both[..first.len() + 50]).unwrap();
    storage.flush().unwrap();
    let boundary = start + first.len() as u64;
    assert_eq!(positions(&storage), (boundary + 50, boundary, boundary));
    storage.write(boundary + 50, &both[first.len() + 50..]).unwrap();
    storage.flush().unwrap();
    assert_eq!(storage.flush_record_lsn, start + both.len() as u64);
}

#[test]
fn a_write_must_continue_at_the_end() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    let rewrite = storage.write(start, &bytes).unwrap_err();
    assert!(rewrite.to_string().contains("write_wal rewrites WAL written before"), "{rewrite}");
    let gap = storage.write(start + 0x1000, &bytes).unwrap_err();
    assert!(gap.to_string().contains("write_wal creates gap in written WAL"), "{gap}");
}

#[test]
fn nothing_is_written_between_a_restart_and_the_first_truncation() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    drop(dir.fresh(start));
    let mut storage = dir.open(start);
    let bytes = wal(start, &[message(100)]);
    let refused = storage.write(start, &bytes);
    assert!(matches!(refused, Err(WalStorageError::NotTruncated { .. })), "{refused:?}");
    storage.truncate(start).unwrap();
    storage.write(start, &bytes).unwrap();
}

#[test]
fn a_full_segment_gets_its_complete_name() {
    let dir = TestDir::new();
    let start = start_at(SEGMENT_SIZE - 0x3000);
    let mut storage = dir.fresh(start);
    storage.write(start, &wal(start, &[message(0x8000)])).unwrap();
    let names = dir.file_names();
    assert_eq!(names, ["000000010000000000000001", "000000010000000000000002.partial"]);
}

#[test]
fn an_open_segment_has_its_full_length_from_the_start() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    storage.write(start, &wal(start, &[message(100)])).unwrap();
    let length = fs::metadata(dir.segments().partial_path(1)).unwrap().len();
    assert_eq!(length, SEGMENT_SIZE);
}

#[test]
fn from_its_middle_on_a_segment_has_a_spare_one_beside_it() {
    let dir = TestDir::new();
    let start = start_at(SPARE_FROM - 0x4000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    assert!(storage.spare.is_none(), "a timeline that is hardly written to has none");
    let middle = start + bytes.len() as u64;
    storage.write(middle, &wal(middle, &[message(0x4000)])).unwrap();
    assert!(storage.spare.is_some());
    // When nobody is to write any more, nothing stays.
    storage.close();
    assert_eq!(dir.file_names(), ["000000010000000000000001.partial"]);
}

/// Storage that has a spare segment, and its end, shortly before that of a segment.
fn with_spare(dir: &TestDir) -> (FileWalStorage, Lsn) {
    let start = start_at(SEGMENT_SIZE - 0x4000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    assert!(storage.spare.is_some());
    (storage, start + bytes.len() as u64)
}

#[test]
fn the_spare_segment_becomes_the_next_one() {
    let dir = TestDir::new();
    let (mut storage, end) = with_spare(&dir);
    // Something only this file has.
    let spare = storage.spare.take().unwrap().into_file().unwrap();
    let mark = SEGMENT_SIZE - 8;
    spare.write_all_at(b"the mark", mark).unwrap();
    storage.spare = Some(SpareSegment::new(&dir.segments(), PendingFile::Done(Ok(spare))));

    storage.write(end, &wal(end, &[message(0x8000)])).unwrap();
    assert_eq!(dir.file_names(), ["000000010000000000000001", "000000010000000000000002.partial"]);
    assert!(storage.spare.is_none());
    let taken = fs::read(dir.segments().partial_path(2)).unwrap();
    assert_eq!(taken[mark as usize..], *b"the mark");
}

#[test]
fn a_spare_segment_that_could_not_be_made_is_made_when_it_is_needed() {
    let dir = TestDir::new();
    let (mut storage, end) = with_spare(&dir);
    drop(storage.spare.take());
    let full = PendingFile::Done(Err(io::ErrorKind::StorageFull.into()));
    storage.spare = Some(SpareSegment::new(&dir.segments(), full));

    storage.write(end, &wal(end, &[message(0x8000)])).unwrap();
    let next = fs::read(dir.segments().partial_path(2)).unwrap();
    assert_eq!(next.len() as u64, SEGMENT_SIZE);
}

#[test]
fn truncation_takes_away_later_segments_and_zeroes_the_rest() {
    let dir = TestDir::new();
    let start = start_at(SEGMENT_SIZE - 0x4000);
    let mut storage = dir.fresh(start);
    let keep = wal(start, &[message(100)]);
    let end = start + keep.len() as u64;
    let long = wal(start, &[message(100), message(0x9000)]);
    storage.write(start, &long).unwrap();
    storage.truncate(end).unwrap();
    assert_eq!(positions(&storage), (end, end, end));
    assert_eq!(dir.file_names(), ["000000010000000000000001.partial"]);
    let file = fs::read(dir.segments().partial_path(1)).unwrap();
    let offset = end.segment_offset(SEGMENT_SIZE) as usize;
    assert!(file[offset..].iter().all(|byte| *byte == 0));
    assert_eq!(file[offset - keep.len()..offset], keep);
}

#[test]
fn truncation_beyond_the_end_is_refused() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let refused = storage.truncate(start + 8);
    assert!(matches!(refused, Err(WalStorageError::TruncateBeyondEnd { .. })));
}

#[test]
fn after_a_write_that_does_not_decode_truncation_repairs() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let good = wal(start, &[message(100)]);
    let end = start + good.len() as u64;
    let mut bad = wal(start, &[message(100), message(100)]);
    let last = bad.len() - 20;
    bad[last] ^= 1;
    let refused = storage.write(start, &bad);
    assert!(matches!(refused, Err(WalStorageError::Decode { .. })), "{refused:?}");
    assert_eq!(storage.write_record_lsn, end);
    storage.truncate(end).unwrap();
    storage.write(end, &wal(end, &[message(100)])).unwrap();
    storage.flush().unwrap();
    assert!(storage.flush_record_lsn > end);
}

#[test]
fn a_log_switch_is_durable_before_its_zeros_arrive() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100), postgres_ffi::xlog::RawRecord::switch()]);
    let record_end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let sent = record_end.next_multiple_of(8);
    storage.write(start, &bytes[..sent]).unwrap();
    storage.flush().unwrap();
    let next_segment = start_at(SEGMENT_SIZE);
    assert_eq!(storage.flush_record_lsn, next_segment);
    // The same leader reconnects and goes on where the safekeeper said it ends.
    storage.truncate(next_segment).unwrap();
    assert_eq!(positions(&storage), (next_segment, next_segment, next_segment));
    let names = dir.file_names();
    assert_eq!(names, ["000000010000000000000001", "000000010000000000000002.partial"]);
}

#[test]
fn a_restart_after_a_log_switch_finds_the_next_segment() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100), postgres_ffi::xlog::RawRecord::switch()]);
    storage.write(start, &bytes[..0x200]).unwrap();
    storage.flush().unwrap();
    let found = dir.open(start);
    assert_eq!(found.flush_record_lsn, start_at(SEGMENT_SIZE));
    assert_eq!(dir.file_names(), ["000000010000000000000001"]);
}

/// A file on a disk that takes no writes and confirms none.
#[derive(Debug)]
struct BrokenFile;

impl DiskFile for BrokenFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn write_zeros(&self, _: std::ops::Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Other.into())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A disk that is full, except for empty files.
#[derive(Debug)]
struct FullDisk;

impl FileSystem for FullDisk {
    fn open(&self, path: &Utf8Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        assert_eq!(access, Access::Create);
        fs::write(path, b"")?;
        Ok(Box::new(BrokenFile))
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, _: &Utf8Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sync_dir(&self, _: &Utf8Path) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_spare_segment_that_finds_no_room_leaves_nothing() {
    let dir = TestDir::new();
    let segments = SegmentDir::on(Arc::new(FullDisk), &dir.path);
    assert!(segments.prepare().into_file().is_none());
    assert!(dir.file_names().is_empty());
}

#[test]
fn records_written_before_a_full_disk_can_still_be_flushed() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    let end = storage.write_lsn;
    let segment = storage.open.take().unwrap();
    storage.open = Some(OpenSegment { file: Box::new(BrokenFile), ..segment });
    assert!(matches!(storage.write(end, &bytes), Err(WalStorageError::Io { .. })));
    assert!(storage.open.is_some(), "the segment with the records must stay open");
    assert_eq!((storage.write_lsn, storage.write_record_lsn), (end, end));
}

#[test]
fn a_failed_sync_ends_the_use_of_the_storage() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let segments = SegmentDir::new(&dir.path, Durability::Synced);
    let mut storage = FileWalStorage::open(segments, MAJOR, Lsn::INVALID).unwrap();
    storage.truncate(start).unwrap();
    let bytes = wal(start, &[message(100)]);
    storage.write(start, &bytes).unwrap();
    let file = Box::new(BrokenFile);
    storage.open = Some(OpenSegment { segno: segno(start), file, complete: false });
    assert!(matches!(storage.flush(), Err(WalStorageError::Sync { .. })));
    assert_eq!(storage.flush_record_lsn, start);
    let end = storage.write_lsn;
    assert!(matches!(storage.flush(), Err(WalStorageError::Poisoned { .. })));
    assert!(matches!(storage.truncate(start), Err(WalStorageError::Poisoned { .. })));
    assert!(matches!(storage.write(end, &bytes), Err(WalStorageError::Poisoned { .. })));
}

#[test]
fn an_unfinished_truncation_keeps_writes_out() {
    let dir = TestDir::new();
    let start = start_at(0x1000);
    let mut storage = dir.fresh(start);
    storage.write(start, &wal(start, &[message(100)])).unwrap();
    let end = storage.write_lsn;
    // The segment cannot be opened for writing because a directory is in its place.
    storage.open = None;
    fs::remove_file(dir.segments().partial_path(1)).unwrap();
    fs::create_dir(dir.segments().partial_path(1)).unwrap();
    storage.truncate(start).unwrap_err();
    let refused = storage.write(end, &wal(end, &[message(100)]));
    assert!(matches!(refused, Err(WalStorageError::NotTruncated { .. })), "{refused:?}");
}
