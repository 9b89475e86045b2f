use pageserver_api::Key;
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::control_file::CONTROL_FILE_SIZE;
use postgres_ffi::pg_constants::xlog;
use postgres_ffi::{CheckPoint, ControlFile, PgMajor};
use utils::Lsn;
use wal_decoder::record::decode;

use super::*;
use crate::keymap::Keymap;
use crate::keymap::memory::MemoryStore;

const KIND: SlruKind = SlruKind::CommitTs;
const TIME: i64 = 0x0102_0304_0506_0708;

/// The control file of a cluster that records nothing.
fn control_file() -> Bytes {
    let mut bytes = vec![0; CONTROL_FILE_SIZE];
    bytes[8..12].copy_from_slice(&1700u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    ControlFile::parse(&bytes).unwrap().to_bytes().into()
}

/// Ingests records into a new timeline whose next transaction is 900.
async fn ingest(major: PgMajor, records: &[RawRecord]) -> MemoryStore {
    let store = MemoryStore::new(major);
    let mut modification = DatadirModification::begin(&store, major, Lsn(0x100));
    modification.init_empty();
    modification.put_checkpoint(&CheckPoint { next_xid: 900, ..CheckPoint::default() });
    modification.put_control_file(control_file());
    for page in 0..2 {
        modification.put_slru_zero_page(SlruKind::Clog, slru_page(page)).await.unwrap();
    }
    modification.commit().await.unwrap();
    let shard = ShardIdentity::unsharded();
    let mut ingest = WalIngest::new(&store, shard, major, Lsn(0x100)).await.unwrap();
    for (number, record) in (1..).zip(records) {
        let raw = Bytes::from(record.to_bytes(Lsn(0)));
        let lsn = Lsn(0x100 + 0x100 * number);
        ingest.ingest_record(&decode(&raw, major).unwrap(), lsn, &mut modification).await.unwrap();
        modification.commit().await.unwrap();
    }
    drop(modification);
    store
}

fn parameters(on: bool) -> RawRecord {
    let body = [&[0; 25][..], &[u8::from(on)]].concat();
    RawRecord::with_main_data(rmgr::XLOG, xlog::PARAMETER_CHANGE, 0, &body)
}

fn zero_page(page: u64) -> RawRecord {
    let (rmid, info) = (rmgr::COMMIT_TS, commit_ts::ZEROPAGE);
    RawRecord::with_main_data(rmid, info, 0, &page.to_le_bytes())
}

fn truncation(page: u64, oldest: u32) -> RawRecord {
    let body = [&page.to_le_bytes()[..], &oldest.to_le_bytes()].concat();
    RawRecord::with_main_data(rmgr::COMMIT_TS, commit_ts::TRUNCATE, 0, &body)
}

fn commit(xid: u32, subxids: &[u32]) -> RawRecord {
    let mut body = TIME.to_le_bytes().to_vec();
    body.extend(xact::XINFO_HAS_SUBXACTS.to_le_bytes());
    body.extend((subxids.len() as u32).to_le_bytes());
    body.extend(subxids.iter().flat_map(|xid| xid.to_le_bytes()));
    let info = xact::COMMIT | xact::HAS_INFO;
    RawRecord::with_main_data(rmgr::XACT, info, xid, &body)
}

fn contents(store: &MemoryStore) -> Keymap<'_, MemoryStore> {
    Keymap::at(store, store.last_record_lsn())
}

async fn limits(store: &MemoryStore) -> (u32, u32) {
    let checkpoint = contents(store).checkpoint().await.unwrap();
    (checkpoint.oldest_commit_ts_xid, checkpoint.newest_commit_ts_xid)
}

/// The stored time of a transaction.
async fn time(store: &MemoryStore, xid: u32) -> i64 {
    let page = slru_page(commit_ts_page(xid));
    let page = contents(store).get(Key::slru_block(KIND, page.segment, page.block)).await.unwrap();
    let at = (xid % 819 * 10) as usize;
    i64::from_le_bytes(page[at..at + 8].try_into().unwrap())
}

#[tokio::test]
async fn nothing_is_stored_of_commits_while_timestamps_are_not_recorded() {
    let store = ingest(PgMajor::V17, &[parameters(false), commit(900, &[901])]).await;
    assert!(contents(&store).get(Key::slru_dir(KIND)).await.is_err());
    assert_eq!(limits(&store).await, (0, 0));
}

#[tokio::test]
async fn commits_have_timestamps_from_the_change_of_the_setting_on() {
    let store = ingest(PgMajor::V17, &[parameters(true), commit(902, &[903])]).await;
    assert!(contents(&store).tracks_commit_timestamps().await.unwrap());
    assert_eq!(contents(&store).slru_segment_size(KIND, 0).await.unwrap(), 2);
    assert_eq!(limits(&store).await, (900, 903));
    assert_eq!([time(&store, 902).await, time(&store, 903).await], [TIME, TIME]);
    assert_eq!([time(&store, 901).await, time(&store, 904).await], [0, 0]);
}

#[tokio::test]
async fn subtransactions_of_other_pages_have_timestamps() {
    let subxids: Vec<u32> = (1000..2700).collect();
    let records = [parameters(true), zero_page(2), zero_page(3), commit(999, &subxids)];
    let store = ingest(PgMajor::V17, &records).await;
    for xid in [999, 1000, 1637, 1638, 2456, 2457, 2699] {
        assert_eq!(time(&store, xid).await, TIME, "{xid}");
    }
    assert_eq!([time(&store, 998).await, time(&store, 2700).await], [0, 0]);
    assert_eq!(limits(&store).await, (900, 2699));
}

#[tokio::test]
async fn a_large_commit_is_stored_once_and_not_once_per_page() {
    let subxids: Vec<u32> = (1000..2700).collect();
    let record = commit(999, &subxids);
    let raw = Bytes::from(record.to_bytes(Lsn(8)));
    let decoded = decode(&raw, PgMajor::V17).unwrap();
    let end = XactEnd::parse(decoded.main_data, decoded.info, PgMajor::V17).unwrap();
    let part = part_of(&decoded, &end, &subxids[..5]);
    assert!(part.len() < 100, "{} bytes", part.len());
    let part = decode(&part, PgMajor::V17).unwrap();
    assert_eq!((part.xid, part.prev), (1000, Lsn(8)));
    let end = XactEnd::parse(part.main_data, part.info, PgMajor::V17).unwrap();
    assert_eq!((end.time, end.subxids), (TIME, vec![1001, 1002, 1003, 1004]));
}

#[tokio::test]
async fn a_transaction_from_before_the_first_page_gets_one() {
    let records = [
        parameters(true),
        zero_page(40),
        truncation(33, 27_100),
        commit(27_000, &[]),
        commit(900, &[]),
    ];
    let store = ingest(PgMajor::V17, &records).await;
    assert_eq!([time(&store, 27_000).await, time(&store, 900).await], [TIME, TIME]);
    assert_eq!(contents(&store).slru_segments(KIND).await.unwrap(), [0, 1].into());
}

#[tokio::test]
async fn the_change_of_the_setting_removes_everything() {
    let records = [parameters(true), zero_page(40), commit(900, &[]), parameters(false)];
    let store = ingest(PgMajor::V17, &records).await;
    assert!(!contents(&store).tracks_commit_timestamps().await.unwrap());
    assert!(contents(&store).slru_segments(KIND).await.unwrap().is_empty());
    assert_eq!(limits(&store).await, (0, 0));
}

#[tokio::test]
async fn timestamps_begin_anew_when_they_are_recorded_again() {
    let records = [parameters(true), commit(900, &[]), parameters(false), parameters(true)];
    let store = ingest(PgMajor::V17, &records).await;
    assert_eq!(time(&store, 900).await, 0);
    assert_eq!(limits(&store).await, (1024, 1024), "the next transaction, rounded up");
}

#[tokio::test]
async fn old_segments_go() {
    let records = [parameters(true), zero_page(40), truncation(33, 27_100)];
    let store = ingest(PgMajor::V18, &records).await;
    assert_eq!(contents(&store).slru_segments(KIND).await.unwrap(), [1].into());
    assert_eq!(limits(&store).await.0, 27_100);
}

#[tokio::test]
async fn page_numbers_of_older_versions_have_four_bytes() {
    let body = [40u32.to_le_bytes(), 27_100u32.to_le_bytes()].concat();
    let page = RawRecord::with_main_data(rmgr::COMMIT_TS, commit_ts::ZEROPAGE, 0, &body[..4]);
    let cut = RawRecord::with_main_data(rmgr::COMMIT_TS, commit_ts::TRUNCATE, 0, &body);
    let store = ingest(PgMajor::V16, &[parameters(true), page, cut]).await;
    assert_eq!(contents(&store).slru_segments(KIND).await.unwrap(), [1].into());
    assert_eq!(limits(&store).await.0, 27_100);
}

#[tokio::test]
async fn a_server_that_starts_past_pages_finds_them() {
    let shutdown = CheckPoint {
        this_timeline_id: 1,
        prev_timeline_id: 1,
        next_xid: 2048,
        oldest_commit_ts_xid: 900,
        newest_commit_ts_xid: 1500,
        ..CheckPoint::default()
    };
    let records = [parameters(true), RawRecord::shutdown_checkpoint(&shutdown), commit(2048, &[])];
    let store = ingest(PgMajor::V17, &records).await;
    assert_eq!(time(&store, 2048).await, TIME);
    assert_eq!(limits(&store).await, (900, 2048));
}

#[tokio::test]
async fn limits_of_a_running_servers_checkpoint_only_move_forward() {
    let running = |oldest, newest| {
        let checkpoint = CheckPoint {
            this_timeline_id: 1,
            prev_timeline_id: 1,
            next_xid: 910,
            oldest_commit_ts_xid: oldest,
            newest_commit_ts_xid: newest,
            ..CheckPoint::default()
        };
        let info = xlog::CHECKPOINT_ONLINE;
        RawRecord::with_main_data(rmgr::XLOG, info, 0, &checkpoint.encode())
    };
    let before = [parameters(true), commit(905, &[])];
    let store = ingest(PgMajor::V17, &[&before[..], &[running(899, 904)]].concat()).await;
    assert_eq!(limits(&store).await, (900, 905));
    let store = ingest(PgMajor::V17, &[&before[..], &[running(903, 906)]].concat()).await;
    assert_eq!(limits(&store).await, (903, 906));
}
