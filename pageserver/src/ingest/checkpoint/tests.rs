use bytes::Bytes;
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::pg_constants::rmgr;
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{CheckPoint, PgMajor};
use utils::Lsn;
use wal_decoder::record::decode;

use super::*;
use crate::ingest::IngestError;
use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

const MAJOR: PgMajor = PgMajor::V15;

/// Ingests one XLOG record into a new timeline; returns the checkpoint that is stored then.
async fn ingest(info: u8, body: &[u8]) -> Result<CheckPoint, IngestError> {
    let store = MemoryStore::new(MAJOR);
    let mut modification = DatadirModification::begin(&store, MAJOR, Lsn(0x100));
    modification.init_empty();
    let first = CheckPoint { this_timeline_id: 1, prev_timeline_id: 1, ..zero() };
    modification.put_checkpoint(&first);
    modification.commit().await.unwrap();
    let shard = ShardIdentity::unsharded();
    let mut ingest = WalIngest::new(&store, shard, MAJOR, Lsn(0x100)).await.unwrap();
    let raw = RawRecord::with_main_data(rmgr::XLOG, info, 0, body).to_bytes(Lsn(0));
    let raw = Bytes::from(raw);
    let record = decode(&raw, MAJOR).unwrap();
    ingest.ingest_record(&record, Lsn(0x200), &mut modification).await?;
    modification.commit().await.unwrap();
    Ok(Keymap::at(&store, store.last_record_lsn()).checkpoint().await.unwrap())
}

fn zero() -> CheckPoint {
    CheckPoint::decode(&[0; 88]).unwrap()
}

fn end_of_recovery(new: u32, old: u32) -> Vec<u8> {
    [&7i64.to_le_bytes()[..], &new.to_le_bytes(), &old.to_le_bytes()].concat()
}

#[tokio::test]
async fn a_change_of_full_page_writes_is_followed() {
    assert!(ingest(xlog::FPW_CHANGE, &[1]).await.unwrap().full_page_writes);
    assert!(!ingest(xlog::FPW_CHANGE, &[0]).await.unwrap().full_page_writes);
}

#[tokio::test]
async fn a_promotion_is_refused_with_both_timelines() {
    let error = ingest(xlog::END_OF_RECOVERY, &end_of_recovery(2, 1)).await.unwrap_err();
    let reason = error.source.to_string();
    assert!(reason.contains("timeline 2 after timeline 1"), "{reason}");
}

#[tokio::test]
async fn the_end_of_a_recovery_on_the_same_timeline_changes_nothing() {
    ingest(xlog::END_OF_RECOVERY, &end_of_recovery(1, 1)).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_a_new_timeline_is_refused() {
    let logged = CheckPoint { this_timeline_id: 3, prev_timeline_id: 1, ..zero() };
    let error = ingest(xlog::CHECKPOINT_SHUTDOWN, &logged.encode()).await.unwrap_err();
    assert!(matches!(error.source, IngestErrorKind::TimelineSwitch { from: 1, to: 3 }));
}

#[tokio::test]
async fn counters_of_a_checkpoint_only_move_forward() {
    let newer = CheckPoint {
        this_timeline_id: 1,
        prev_timeline_id: 1,
        next_multi: 9,
        next_multi_offset: 20,
        oldest_xid: 700,
        ..zero()
    };
    let stored = ingest(xlog::CHECKPOINT_ONLINE, &newer.encode()).await.unwrap();
    assert_eq!((stored.next_multi, stored.next_multi_offset), (9, 20));
    assert_eq!(stored.oldest_xid, 700);
}
