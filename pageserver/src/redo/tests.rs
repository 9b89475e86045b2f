use postgres_ffi::pg_constants::rmgr;
use postgres_ffi::xlog::RawRecord;
use postgres_ffi::{ForkNumber, RelTag, SlruKind};

use super::*;

const MAP: RelTag =
    RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::VisibilityMap };

fn page() -> Option<(Lsn, Bytes)> {
    Some((Lsn(100), Bytes::from(vec![0; 8192])))
}

async fn native(
    key: Key,
    base: Option<(Lsn, Bytes)>,
    records: Vec<(Lsn, WalRecord)>,
) -> Result<Bytes, ReconstructError> {
    reconstruct(&InProcessRedo, key, base, records, PgMajor::V15).await
}

async fn one(key: Key, record: WalRecord) -> Result<Bytes, ReconstructError> {
    native(key, page(), vec![(Lsn(200), record)]).await
}

#[tokio::test]
async fn an_image_without_records_is_the_value() {
    let value = native(Key::MIN, page(), Vec::new()).await.unwrap();
    assert_eq!(value, vec![0; 8192]);
}

#[tokio::test]
async fn nothing_at_all_is_an_error() {
    let error = native(Key::MIN, None, Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("invalid WAL redo request with no records"));
}

#[tokio::test]
async fn a_change_without_anything_to_change_is_an_error() {
    let record = WalRecord::ClogSetAborted { xids: vec![7] };
    let key = Key::slru_block(SlruKind::Clog, 0, 0);
    let records = vec![(Lsn(200), record)];
    let error = native(key, None, records).await.unwrap_err();
    assert!(error.to_string().contains("with no base image"), "{error}");
}

#[tokio::test]
async fn committed_transactions_get_their_bits_and_a_time() {
    let key = Key::slru_block(SlruKind::Clog, 0, 0);
    let record = WalRecord::ClogSetCommitted { xids: vec![5, 700], timestamp: 77 };
    let value = one(key, record).await.unwrap();
    assert_eq!(value.len(), 8200);
    assert_eq!(value[1], 0b0100);
    assert_eq!(value[175], 0b01);
    assert_eq!(value[8192..], 77u64.to_be_bytes());
}

#[tokio::test]
async fn an_abort_keeps_the_time_of_the_last_commit() {
    let key = Key::slru_block(SlruKind::Clog, 0, 0);
    let records = vec![
        (Lsn(200), WalRecord::ClogSetCommitted { xids: vec![5], timestamp: 77 }),
        (Lsn(300), WalRecord::ClogSetAborted { xids: vec![6] }),
    ];
    let value = native(key, page(), records).await.unwrap();
    assert_eq!(value[1], 0b10_0100);
    assert_eq!(value.len(), 8200);
}

#[tokio::test]
async fn a_transaction_of_another_page_is_refused() {
    let key = Key::slru_block(SlruKind::Clog, 0, 1);
    assert!(one(key, WalRecord::ClogSetAborted { xids: vec![5] }).await.is_err());
}

/// The commit of a transaction at time 77.
fn commit_record(xid: u32) -> WalRecord {
    let record = RawRecord::with_main_data(rmgr::XACT, 0, xid, &77u64.to_le_bytes());
    WalRecord::Postgres { will_init: false, record: record.to_bytes(Lsn(0)).into() }
}

#[tokio::test]
async fn commit_records_set_commit_timestamps_one_after_the_other() {
    let key = Key::slru_block(SlruKind::CommitTs, 1, 2);
    let first = 34 * 819;
    let records = vec![(Lsn(200), commit_record(first)), (Lsn(304), commit_record(first + 2))];
    let value = native(key, page(), records).await.unwrap();
    assert_eq!(value.len(), 8192);
    assert_eq!(value[..8], 77u64.to_le_bytes());
    assert_eq!(value[10..20], [0; 10]);
    assert_eq!(value[20..28], 77u64.to_le_bytes());
}

#[tokio::test]
async fn a_commit_record_changes_no_other_slru() {
    let error = one(Key::slru_block(SlruKind::Clog, 0, 0), commit_record(5)).await.unwrap_err();
    assert!(matches!(error, ReconstructError::NotARelationBlock { .. }), "{error}");
}

#[tokio::test]
async fn another_record_is_no_commit_timestamp() {
    let record = RawRecord::with_main_data(rmgr::HEAP, 0, 5, &[]).to_bytes(Lsn(0)).into();
    let record = WalRecord::Postgres { will_init: false, record };
    let error = one(Key::slru_block(SlruKind::CommitTs, 0, 0), record).await.unwrap_err();
    assert!(matches!(error, ReconstructError::Native { .. }), "{error}");
}

#[tokio::test]
async fn a_multixact_offset_is_written_at_its_place() {
    let key = Key::slru_block(SlruKind::MultiXactOffsets, 0, 1);
    let value =
        one(key, WalRecord::MultixactOffsetCreate { multixact: 2049, offset: 9 }).await.unwrap();
    assert_eq!(value[4..8], 9u32.to_le_bytes());
}

#[tokio::test]
async fn multixact_members_go_to_their_groups() {
    let key = Key::slru_block(SlruKind::MultiXactMembers, 0, 0);
    let members = vec![(700, 1), (701, 4)];
    let value = one(key, WalRecord::MultixactMembersCreate { offset: 3, members }).await.unwrap();
    assert_eq!(value[3], 1);
    assert_eq!(value[16..20], 700u32.to_le_bytes());
    assert_eq!(value[20], 4);
    assert_eq!(value[24..28], 701u32.to_le_bytes());
}

#[tokio::test]
async fn clearing_the_visibility_map_stamps_the_page() {
    let mut base = vec![0; 8192];
    base[24] = 0xFF;
    let record = WalRecord::ClearVisibilityMapFlags {
        new_heap_block: Some(1),
        old_heap_block: Some(3),
        flags: 3,
    };
    let records = vec![(Lsn(0x1_0000_0200), record)];
    let base = Some((Lsn(100), Bytes::from(base)));
    let key = Key::rel_block(MAP, 0);
    let value = native(key, base, records).await.unwrap();
    assert_eq!(value[24], 0b0011_0011);
    assert_eq!(value[..8], [1, 0, 0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn an_auxiliary_file_is_stored_and_removed() {
    let base = Some((Lsn(100), Bytes::from(vec![0; 8])));
    let path = "pg_replslot/s/state".to_owned();
    let content = Some(Bytes::from_static(b"state"));
    let set = (Lsn(200), WalRecord::AuxFile { path: path.clone(), content });
    let key = Key::AUX_FILES_V1;
    let value = native(key, base.clone(), vec![set.clone()]).await.unwrap();
    assert_eq!(value.len(), 8 + 8 + path.len() + 8 + 5);
    let unset = (Lsn(300), WalRecord::AuxFile { path, content: None });
    let value = native(key, base, vec![set, unset]).await.unwrap();
    assert_eq!(value, vec![0; 8]);
}

#[tokio::test]
async fn a_postgres_record_under_another_key_is_refused() {
    let record = WalRecord::Postgres { will_init: true, record: Bytes::new() };
    assert!(matches!(
        one(Key::CHECKPOINT, record).await,
        Err(ReconstructError::NotARelationBlock { .. })
    ));
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_named() {
    let key = Key::rel_block(MAP.with_fork(ForkNumber::Main), 0);
    let record = WalRecord::Postgres { will_init: true, record: Bytes::from_static(b"garbage") };
    let error = one(key, record).await.unwrap_err();
    assert!(error.to_string().contains("0/C8"), "{error}");
}
