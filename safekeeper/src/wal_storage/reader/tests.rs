use postgres_ffi::xlog::PageHeader;
use utils::{TenantId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::ServerInfo;

use super::super::testing::*;
use super::*;

fn state(timeline_start_lsn: Lsn, local_start_lsn: Lsn) -> ControlFile {
    let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
    let server = ServerInfo {
        pg_version: 150_018,
        system_id: IDENTITY.system_id,
        wal_seg_size: SEGMENT_SIZE as u32,
    };
    let mut state = ControlFile::new(ttid, server, Lsn::INVALID, local_start_lsn);
    state.timeline_start_lsn = timeline_start_lsn;
    state
}

fn reader(dir: &TestDir, state: &ControlFile, start: Lsn) -> Result<WalReader, WalReadError> {
    WalReader::new(WalSource::new(dir.segments(), state)?, start)
}

fn read_exact(reader: &mut WalReader, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        filled += reader.read(&mut bytes[filled..]).unwrap();
    }
    bytes
}

#[test]
fn what_was_written_is_read_across_segments() {
    let dir = TestDir::new();
    let start = start_at(SEGMENT_SIZE - 0x1000);
    let bytes = wal(start, &[message(100), message(0x9000)]);
    dir.fresh(start).write(start, &bytes).unwrap();
    let mut reader = reader(&dir, &state(start, start), start).unwrap();
    assert_eq!(read_exact(&mut reader, bytes.len()), bytes);
    assert_eq!(reader.position(), start + bytes.len() as u64);
}

#[test]
fn one_read_stays_within_a_segment() {
    let dir = TestDir::new();
    let start = start_at(SEGMENT_SIZE - 0x1000);
    dir.fresh(start).write(start, &wal(start, &[message(0x9000)])).unwrap();
    let mut reader = reader(&dir, &state(start, start), start).unwrap();
    assert_eq!(reader.read(&mut [0; 0x4000]).unwrap(), 0x1000);
}

#[test]
fn the_segment_before_the_start_of_the_timeline_is_made_up() {
    let dir = TestDir::new();
    let start = start_at(0x2000 + 0x100);
    let bytes = wal(start, &[message(100)]);
    dir.fresh(start).write(start, &bytes).unwrap();
    let mut reader = reader(&dir, &state(start, start), start_at(0)).unwrap();
    let made_up = read_exact(&mut reader, 0x2100);
    let header = PageHeader::parse(&made_up, start_at(0), MAJOR.xlog_page_magic());
    assert!(header.is_ok(), "{header:?}");
    let page = PageHeader::parse(&made_up[0x2000..], start_at(0x2000), MAJOR.xlog_page_magic());
    assert!(page.unwrap().is_continuation());
    assert_eq!(read_exact(&mut reader, bytes.len()), bytes);
}

#[test]
fn nothing_exists_before_the_first_segment() {
    let dir = TestDir::new();
    let start = start_at(0x2100);
    let refused = reader(&dir, &state(start, start), Lsn(SEGMENT_SIZE - 8));
    assert!(matches!(refused, Err(WalReadError::BeforeStart { .. })));
}

#[test]
fn a_timeline_without_a_leader_has_no_wal() {
    let dir = TestDir::new();
    let refused = reader(&dir, &state(Lsn::INVALID, Lsn::INVALID), start_at(0));
    assert_eq!(refused.unwrap_err().to_string(), "state uninitialized, no data to read");
}

#[test]
fn a_removed_segment_is_named() {
    let dir = TestDir::new();
    let start = start_at(0x2000);
    let mut reader = reader(&dir, &state(start, start), start).unwrap();
    let error = reader.read(&mut [0; 10]).unwrap_err().to_string();
    assert!(error.starts_with("WAL segment is not found"), "{error}");
    assert!(error.contains("000000010000000000000001"), "{error}");
}
