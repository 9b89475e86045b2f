use bytes::Bytes;
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{CheckPoint, ForkNumber, PgMajor};
use utils::Lsn;
use wal_decoder::record::decode;

use super::*;
use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

const MAJOR: PgMajor = PgMajor::V16;
const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };
const CUSTOM: u8 = 150;

/// A record with one block reference: an image of the page, or data.
fn record(rmid: u8, info: u8, rel: RelTag, block: BlockNumber, image: Option<u8>) -> RawRecord {
    let mut body = vec![0, rel.fork as u8 | if image.is_some() { 0x10 } else { 0 }, 0, 0];
    if image.is_some() {
        body.extend([0x00, 0x20, 0, 0, 0x02]);
    }
    for word in [rel.spcnode, rel.dbnode, rel.relnode, block] {
        body.extend(word.to_le_bytes());
    }
    body.extend(image.map(|byte| vec![byte; BLCKSZ]).unwrap_or_default());
    RawRecord { xid: 0, info, rmid, body }
}

async fn ingest(records: &[RawRecord]) -> MemoryStore {
    let store = MemoryStore::new(MAJOR);
    let mut modification = DatadirModification::begin(&store, MAJOR, Lsn(0x100));
    modification.init_empty();
    modification.put_checkpoint(&CheckPoint::decode(&[0; 88]).unwrap());
    modification.put_relmap(1663, 5, Bytes::from_static(b"map")).await.unwrap();
    modification.commit().await.unwrap();
    let shard = ShardIdentity::unsharded();
    let mut ingest = WalIngest::new(&store, shard, MAJOR, Lsn(0x100)).await.unwrap();
    for (number, record) in (1..).zip(records) {
        let raw = Bytes::from(record.to_bytes(Lsn(0)));
        let record = decode(&raw, MAJOR).unwrap();
        let lsn = Lsn(0x100 + 0x100 * number);
        ingest.ingest_record(&record, lsn, &mut modification).await.unwrap();
    }
    modification.commit().await.unwrap();
    drop(modification);
    store
}

async fn block(store: &MemoryStore, rel: RelTag, block: BlockNumber) -> Bytes {
    let contents = Keymap::at(store, store.last_record_lsn());
    contents.get(Key::rel_block(rel, block)).await.unwrap()
}

#[tokio::test]
async fn blocks_that_a_relation_grows_over_are_zero() {
    let store = ingest(&[record(rmgr::XLOG, xlog::FPI, REL, 5, Some(7))]).await;
    let contents = Keymap::at(&store, store.last_record_lsn());
    assert_eq!(contents.rel_size(REL).await.unwrap(), 6);
    for gap in 0..5 {
        assert_eq!(block(&store, REL, gap).await, vec![0; BLCKSZ], "block {gap}");
    }
    assert_eq!(block(&store, REL, 5).await[100], 7);
    assert_eq!(store.logical_blocks(), 6);
}

#[tokio::test]
async fn the_init_fork_of_an_unlogged_relation_is_stored() {
    let init = REL.with_fork(ForkNumber::Init);
    let store = ingest(&[record(rmgr::XLOG, xlog::FPI, init, 0, Some(7))]).await;
    let contents = Keymap::at(&store, store.last_record_lsn());
    assert_eq!(contents.rel_size(init).await.unwrap(), 1);
    assert!(!contents.rel_exists(REL).await.unwrap());
}

#[tokio::test]
async fn a_logged_image_gets_the_lsn_of_its_record() {
    let store = ingest(&[record(rmgr::XLOG, xlog::FPI, REL, 0, Some(7))]).await;
    let page = block(&store, REL, 0).await;
    assert_eq!(page[..8], [0, 0, 0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn records_of_custom_resource_managers_are_kept_for_whoever_can_apply_them() {
    let store =
        ingest(&[record(CUSTOM, 0x10, REL, 0, Some(7)), record(CUSTOM, 0x20, REL, 0, None)]).await;
    let contents = Keymap::at(&store, store.last_record_lsn());
    assert_eq!(contents.rel_size(REL).await.unwrap(), 1);
    // The engine of this process refuses, and says what.
    let error = contents.get(Key::rel_block(REL, 0)).await.unwrap_err();
    let mut reasons = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(reason) = source {
        reasons.push(reason.to_string());
        source = reason.source();
    }
    let reasons = reasons.join(": ");
    assert!(reasons.contains("custom record with info 0x20"), "{reasons}");
}

#[tokio::test]
async fn a_new_block_does_not_get_back_what_was_truncated() {
    let mut truncate = 0u32.to_le_bytes().to_vec();
    for word in [REL.spcnode, REL.dbnode, REL.relnode, 7] {
        truncate.extend(word.to_le_bytes());
    }
    let store = ingest(&[
        record(rmgr::XLOG, xlog::FPI, REL, 1, Some(7)),
        RawRecord::with_main_data(rmgr::SMGR, 0x20, 0, &truncate),
        record(rmgr::XLOG, xlog::FPI, REL, 2, Some(9)),
    ])
    .await;
    assert_eq!(block(&store, REL, 1).await, vec![0; BLCKSZ]);
    assert_eq!(block(&store, REL, 2).await[100], 9);
}
