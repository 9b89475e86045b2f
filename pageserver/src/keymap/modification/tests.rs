use postgres_ffi::ForkNumber;
use postgres_ffi::slru::slru_page;

use super::*;
use crate::keymap::directories::{AuxFilesDirectory, Directory};
use crate::keymap::memory::MemoryStore;

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16_384, fork: ForkNumber::Main };
const START: Lsn = Lsn(0x100);

fn store() -> MemoryStore {
    MemoryStore::new(PgMajor::V15)
}

async fn initialised(store: &MemoryStore) -> DatadirModification<'_, MemoryStore> {
    let mut modification = DatadirModification::begin(store, PgMajor::V15, START);
    modification.init_empty();
    modification.put_relmap(1663, 5, Bytes::from_static(b"map")).await.unwrap();
    modification.commit().await.unwrap();
    modification
}

fn page(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 8192])
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.set_lsn(Lsn(0x200)).unwrap();
    modification.create_relation(REL, 1).await.unwrap();
    modification.put_rel_page_image(REL, 0, page(1));
    assert_eq!(store.last_record_lsn(), START);
    assert!(modification.keymap().rel_exists(REL).await.unwrap());
    modification.commit().await.unwrap();
    assert_eq!(store.last_record_lsn(), Lsn(0x200));
    assert_eq!(Keymap::at(&store, Lsn(0x200)).rel_size(REL).await.unwrap(), 1);
    assert!(!Keymap::at(&store, START).rel_exists(REL).await.unwrap());
}

#[tokio::test]
async fn the_record_before_the_last_is_known_after_a_batch() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.set_lsn(Lsn(0x200)).unwrap();
    modification.set_lsn(Lsn(0x300)).unwrap();
    modification.commit().await.unwrap();
    assert_eq!((store.last_record_lsn(), store.prev_record_lsn()), (Lsn(0x300), Lsn(0x200)));
    modification.set_lsn(Lsn(0x400)).unwrap();
    modification.commit().await.unwrap();
    assert_eq!((store.last_record_lsn(), store.prev_record_lsn()), (Lsn(0x400), Lsn(0x300)));
}

#[tokio::test]
async fn lsns_only_ascend() {
    let store = store();
    let mut modification = initialised(&store).await;
    let error = modification.set_lsn(Lsn(0x80)).unwrap_err();
    assert_eq!(error.to_string(), "setting an older lsn 0/80 than 0/100 is not allowed");
}

#[tokio::test]
async fn the_last_value_of_an_lsn_wins() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.set_lsn(Lsn(0x200)).unwrap();
    modification.create_relation(REL, 1).await.unwrap();
    modification.put_rel_page_image(REL, 0, page(1));
    modification.put_rel_page_image(REL, 0, page(2));
    modification.commit().await.unwrap();
    let value = store.get(Key::rel_block(REL, 0), Lsn(0x200)).await.unwrap();
    assert_eq!(value, page(2));
}

#[tokio::test]
async fn a_pending_record_cannot_be_read_back() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.set_lsn(Lsn(0x200)).unwrap();
    let record = WalRecord::ClogSetAborted { xids: vec![5] };
    modification.put_slru_record(SlruKind::Clog, slru_page(0), record);
    let key = Key::slru_block(SlruKind::Clog, 0, 0);
    let result = modification.get(key, Lsn(0x200)).await;
    assert!(matches!(result, Err(KeyReadError::PendingRecord(_))), "{result:?}");
}

#[tokio::test]
async fn a_relation_is_created_once() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.create_relation(REL, 0).await.unwrap();
    let error = modification.create_relation(REL, 0).await.unwrap_err();
    assert!(matches!(error, ModificationError::RelationExists(rel) if rel == REL));
}

#[tokio::test]
async fn a_dropped_database_takes_its_size_along() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.set_lsn(Lsn(0x200)).unwrap();
    modification.create_relation(REL, 10).await.unwrap();
    modification.extend_relation(REL, 12).await.unwrap();
    modification.commit().await.unwrap();
    assert_eq!(store.logical_blocks(), 12);
    modification.set_lsn(Lsn(0x300)).unwrap();
    modification.drop_database(1663, 5).await.unwrap();
    modification.commit().await.unwrap();
    assert_eq!(store.logical_blocks(), 0);
    assert!(!Keymap::at(&store, Lsn(0x300)).rel_exists(REL).await.unwrap());
    assert_eq!(Keymap::at(&store, Lsn(0x200)).rel_size(REL).await.unwrap(), 12);
}

#[tokio::test]
async fn a_zero_page_beyond_the_end_fills_the_gap() {
    let store = store();
    let mut modification = initialised(&store).await;
    let kind = SlruKind::MultiXactOffsets;
    modification.put_slru_zero_page(kind, slru_page(34)).await.unwrap();
    let keymap = modification.keymap();
    assert_eq!(keymap.slru_segment_size(kind, 1).await.unwrap(), 3);
    assert_eq!(keymap.get(Key::slru_block(kind, 1, 0)).await.unwrap(), page(0));
}

#[tokio::test]
async fn aux_files_are_listed_until_removed() {
    let store = store();
    let mut modification = initialised(&store).await;
    let path = "pg_replslot/a/state";
    modification.put_aux_file(path, Bytes::from_static(b"x")).await.unwrap();
    modification.put_aux_file("pg_logical/b", Bytes::from_static(b"y")).await.unwrap();
    assert_eq!(modification.keymap().aux_files().await.unwrap().len(), 2);
    modification.set_lsn(Lsn(0x200)).unwrap();
    modification.put_aux_file(path, Bytes::new()).await.unwrap();
    modification.commit().await.unwrap();
    let files = Keymap::at(&store, Lsn(0x200)).aux_files().await.unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["pg_logical/b"]);
}

#[tokio::test]
async fn aux_files_are_stored_as_the_tenant_wants_the_first_one() {
    for (wanted, in_one_value, one_by_one) in [
        (None, 0, 2),
        (Some(AuxFilePolicy::V1), 2, 0),
        (Some(AuxFilePolicy::V2), 0, 2),
        (Some(AuxFilePolicy::CrossValidation), 2, 2),
    ] {
        let store = store();
        *store.wanted_aux_file_policy.lock().unwrap() = wanted;
        let mut modification = initialised(&store).await;
        for path in ["pg_replslot/a/state", "pg_logical/b", "pg_logical/c"] {
            modification.put_aux_file(path, Bytes::from_static(b"x")).await.unwrap();
        }
        modification.commit().await.unwrap();
        // A wish that comes later changes nothing.
        *store.wanted_aux_file_policy.lock().unwrap() = Some(AuxFilePolicy::V1);
        modification.set_lsn(Lsn(0x200)).unwrap();
        modification.put_aux_file("pg_logical/c", Bytes::new()).await.unwrap();
        modification.commit().await.unwrap();
        let keymap = Keymap::at(&store, Lsn(0x200));
        assert_eq!(store.aux_file_policy(), wanted.or(Some(AuxFilePolicy::V2)));
        let files = keymap.aux_files().await.unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["pg_logical/b", "pg_replslot/a/state"]);
        assert_eq!(keymap.aux_files_v1().await.unwrap().len(), in_one_value, "{wanted:?}");
        let range = Key::AUX_FILES_V2_RANGE;
        let values = store.scan(range, Lsn(0x200)).await.unwrap().into_values();
        assert_eq!(values.filter(|value| !value.is_empty()).count(), one_by_one, "{wanted:?}");
    }
}

#[tokio::test]
async fn aux_files_that_are_stored_both_ways_must_agree() {
    let store = store();
    *store.wanted_aux_file_policy.lock().unwrap() = Some(AuxFilePolicy::CrossValidation);
    let mut modification = initialised(&store).await;
    modification.put_aux_file("pg_logical/a", Bytes::from_static(b"x")).await.unwrap();
    modification.put_image(Key::AUX_FILES_V1, AuxFilesDirectory::default().encode());
    modification.commit().await.unwrap();
    let listed = Keymap::at(&store, START).aux_files().await;
    assert!(matches!(listed, Err(KeymapError::UnmatchedAuxFiles)), "{listed:?}");
}

#[tokio::test]
async fn a_dropped_origin_is_not_listed() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.put_repl_origin(1, Lsn(0x77));
    modification.put_repl_origin(2, Lsn(0x88));
    modification.put_repl_origin(1, Lsn::INVALID);
    modification.commit().await.unwrap();
    let origins = Keymap::at(&store, START).repl_origins().await.unwrap();
    assert_eq!(origins.into_iter().collect::<Vec<_>>(), [(2, Lsn(0x88))]);
}

#[tokio::test]
async fn the_keyspace_has_a_value_for_every_dense_key() {
    let store = store();
    let mut modification = initialised(&store).await;
    modification.create_relation(REL, 2).await.unwrap();
    modification.put_rel_page_image(REL, 0, page(1));
    modification.put_rel_page_image(REL, 1, page(1));
    modification.put_slru_zero_page(SlruKind::Clog, slru_page(1)).await.unwrap();
    modification.put_two_phase_file(700, Bytes::from_static(b"state")).await.unwrap();
    modification.put_control_file(Bytes::from_static(b"control"));
    modification.put_checkpoint(&Default::default());
    modification.commit().await.unwrap();
    let keys = Keymap::at(&store, START).collect_keyspace(PgMajor::V15).await.unwrap();
    let mut count = 0;
    for range in keys.dense.ranges {
        let mut key = range.start;
        while key < range.end {
            store.get(key, START).await.unwrap_or_else(|e| panic!("{key}: {e}"));
            count += 1;
            key = key.next();
        }
    }
    assert_eq!(count, 16);
}
