use bytes::Bytes;
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::pg_constants::{dbase, rmgr};
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{CheckPoint, ForkNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::decode;

use super::*;
use crate::ingest::IngestError;
use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

const MAJOR: PgMajor = PgMajor::V17;
const SPACE: Oid = 16_400;
const REL: RelTag = RelTag { spcnode: SPACE, dbnode: 5, relnode: 16_500, fork: ForkNumber::Main };

/// A timeline to which records are added.
struct History {
    store: MemoryStore,
}

impl History {
    /// With database 5 in `pg_default`.
    async fn begin() -> History {
        let store = MemoryStore::new(MAJOR);
        let mut modification = DatadirModification::begin(&store, MAJOR, Lsn(0x100));
        modification.init_empty();
        modification.put_checkpoint(&CheckPoint::decode(&[0; 88]).unwrap());
        modification.put_relmap(1663, 5, Bytes::from_static(b"map")).await.unwrap();
        modification.commit().await.unwrap();
        History { store }
    }

    async fn add(&self, rmid: u8, info: u8, body: &[u32]) -> Result<(), IngestError> {
        let last = self.store.last_record_lsn();
        let shard = ShardIdentity::unsharded();
        let mut ingest = WalIngest::new(&self.store, shard, MAJOR, last).await.unwrap();
        let mut modification = DatadirModification::begin(&self.store, MAJOR, last);
        let body: Vec<u8> = body.iter().flat_map(|number| number.to_le_bytes()).collect();
        let raw = Bytes::from(RawRecord::with_main_data(rmid, info, 0, &body).to_bytes(last));
        let record = decode(&raw, MAJOR).unwrap();
        ingest.ingest_record(&record, Lsn(last.0 + 0x100), &mut modification).await?;
        modification.commit().await.unwrap();
        Ok(())
    }

    /// Creates a relation as blocks in WAL do.
    async fn create_relation(&self, rel: RelTag, blocks: u32) {
        let last = self.store.last_record_lsn();
        let mut modification = DatadirModification::begin(&self.store, MAJOR, last);
        modification.set_lsn(Lsn(last.0 + 0x100)).unwrap();
        modification.create_relation(rel, blocks).await.unwrap();
        for block in 0..blocks {
            modification.put_rel_page_image(rel, block, Bytes::from(vec![7; 8192]));
        }
        modification.commit().await.unwrap();
    }

    fn contents(&self) -> Keymap<'_, MemoryStore> {
        Keymap::at(&self.store, self.store.last_record_lsn())
    }

    async fn databases(&self) -> Vec<(Oid, Oid)> {
        self.contents().databases().await.unwrap().into_keys().collect()
    }
}

#[tokio::test]
async fn an_empty_tablespace_is_remembered_until_it_is_dropped() {
    let history = History::begin().await;
    history.add(rmgr::TBLSPC, tblspc::CREATE, &[SPACE, 0]).await.unwrap();
    assert_eq!(history.databases().await, [(1663, 5), (SPACE, 0)]);
    let created = history.store.last_record_lsn();
    history.add(rmgr::TBLSPC, tblspc::DROP, &[SPACE]).await.unwrap();
    assert_eq!(history.databases().await, [(1663, 5)]);
    let before = Keymap::at(&history.store, created);
    assert!(before.databases().await.unwrap().contains_key(&(SPACE, 0)), "at an older LSN");
}

#[tokio::test]
async fn an_empty_tablespace_has_neither_relations_nor_a_size() {
    let history = History::begin().await;
    history.add(rmgr::TBLSPC, tblspc::CREATE, &[SPACE, 0]).await.unwrap();
    assert_eq!(history.contents().logical_blocks().await.unwrap(), 0);
    assert!(history.contents().relations(SPACE, 0).await.unwrap().is_empty());
    assert!(!history.contents().rel_exists(REL).await.unwrap());
}

#[tokio::test]
async fn dropping_a_tablespace_takes_along_what_is_left_of_databases() {
    let history = History::begin().await;
    history.add(rmgr::TBLSPC, tblspc::CREATE, &[SPACE, 0]).await.unwrap();
    history.create_relation(REL, 3).await;
    assert_eq!(history.store.logical_blocks(), 3);
    history.add(rmgr::TBLSPC, tblspc::DROP, &[SPACE]).await.unwrap();
    assert_eq!(history.databases().await, [(1663, 5)]);
    assert_eq!(history.store.logical_blocks(), 0);
}

#[tokio::test]
async fn a_tablespace_of_unknown_origin_stays_when_its_only_database_goes() {
    let history = History::begin().await;
    history.create_relation(REL, 1).await;
    assert_eq!(history.databases().await, [(1663, 5), (SPACE, 5)]);
    history.add(rmgr::DBASE, dbase::DROP, &[5, 2, 1663, SPACE]).await.unwrap();
    assert_eq!(history.databases().await, [(SPACE, 0)]);
}

#[tokio::test]
async fn a_copy_replaces_what_a_failed_move_has_left() {
    let history = History::begin().await;
    history.create_relation(RelTag { spcnode: 1663, ..REL }, 2).await;
    let moved = [5, SPACE, 5, 1663];
    history.add(rmgr::DBASE, dbase::CREATE_FILE_COPY, &moved).await.unwrap();
    history.create_relation(RelTag { relnode: 16_501, ..REL }, 4).await;
    assert_eq!(history.store.logical_blocks(), 8);
    history.add(rmgr::DBASE, dbase::CREATE_FILE_COPY, &moved).await.unwrap();
    let relations = history.contents().relations(SPACE, 5).await.unwrap();
    assert_eq!(relations.into_iter().collect::<Vec<_>>(), [REL]);
    assert_eq!(history.contents().rel_size(REL).await.unwrap(), 2);
    assert_eq!(history.store.logical_blocks(), 4);
    assert_eq!(history.contents().relmap(SPACE, 5).await.unwrap(), "map");
}

#[tokio::test]
async fn the_tablespaces_of_every_cluster_are_neither_created_nor_dropped() {
    let history = History::begin().await;
    for spcnode in [0, 1663, 1664] {
        for operation in [tblspc::CREATE, tblspc::DROP] {
            let error = history.add(rmgr::TBLSPC, operation, &[spcnode]).await.unwrap_err();
            assert!(error.source.to_string().contains("impossible tablespace"), "{error:?}");
        }
    }
    assert_eq!(history.databases().await, [(1663, 5)]);
}

#[tokio::test]
async fn an_unknown_operation_and_a_short_record_are_errors() {
    let history = History::begin().await;
    let error = history.add(rmgr::TBLSPC, 0x20, &[SPACE]).await.unwrap_err();
    assert!(matches!(error.source, IngestErrorKind::UnknownOperation), "{error:?}");
    let error = history.add(rmgr::TBLSPC, tblspc::DROP, &[]).await.unwrap_err();
    assert!(matches!(error.source, IngestErrorKind::Malformed(_)), "{error:?}");
}
