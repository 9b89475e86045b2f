use postgres_ffi::xlog::record::RawRecord;
use postgres_ffi::xlog::{WalBuilder, WalIdentity, segment_start_image};

use super::*;

const IDENTITY: WalIdentity = WalIdentity { major: PgMajor::V17, system_id: 42 };

/// Writes what the builder holds as full-size segments, the last one unfinished.
fn write_segments(directory: &Path, start: Lsn, wal: &[u8]) {
    let first = start.segment_number(WAL_SEGMENT_SIZE as u64);
    let mut image = segment_start_image(IDENTITY, start);
    image.truncate(start.segment_offset(WAL_SEGMENT_SIZE as u64) as usize);
    image.extend_from_slice(wal);
    let chunks: Vec<&[u8]> = image.chunks(WAL_SEGMENT_SIZE).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let segment = first + index as u64;
        let last = index + 1 == chunks.len();
        let name =
            if last { partial_segment_file_name(segment) } else { segment_file_name(segment) };
        let mut bytes = chunk.to_vec();
        bytes.resize(WAL_SEGMENT_SIZE, 0);
        std::fs::write(directory.join(name), bytes).unwrap();
    }
}

fn check(start: u64, records: &[RawRecord]) {
    let directory = tempfile::tempdir().unwrap();
    let mut wal = WalBuilder::new(IDENTITY, Lsn(start), Lsn(0));
    for record in records {
        wal.append(record);
    }
    write_segments(directory.path(), Lsn(start), wal.bytes());
    let end = find_end_of_wal(directory.path(), Lsn(start), PgMajor::V17).unwrap();
    assert_eq!(end.lsn, wal.lsn());
}

#[test]
fn an_empty_directory_ends_where_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let end = find_end_of_wal(directory.path(), Lsn(0x100_0100), PgMajor::V17).unwrap();
    assert_eq!(end, EndOfWal { lsn: Lsn(0x100_0100), reason: None });
}

#[test]
fn zeros_end_the_wal() {
    check(
        0x100_0100,
        &[RawRecord::logical_message("a", b"b"), RawRecord::logical_message("c", b"")],
    );
}

#[test]
fn a_final_switch_ends_at_the_next_segment() {
    check(0x100_0100, &[RawRecord::logical_message("a", b"b"), RawRecord::switch()]);
}

#[test]
fn a_record_over_a_segment_end_is_followed() {
    let long = RawRecord::logical_message("a", &vec![1; 20_000]);
    check(0x200_0000 - 10_000, &[long, RawRecord::logical_message("c", b"")]);
}

#[test]
fn a_record_that_is_cut_short_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let start = Lsn(0x100_0100);
    let mut wal = WalBuilder::new(IDENTITY, start, Lsn(0));
    wal.append(&RawRecord::logical_message("a", b"b"));
    let end_of_first = wal.lsn();
    wal.append(&RawRecord::logical_message("a", &[5; 100]));
    let bytes = wal.bytes();
    write_segments(directory.path(), start, &bytes[..bytes.len() - 50]);
    let end = find_end_of_wal(directory.path(), start, PgMajor::V17).unwrap();
    assert_eq!(end.lsn, end_of_first);
    assert!(matches!(end.reason, Some(WalDecodeError::Crc { .. })));
}
