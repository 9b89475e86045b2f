//! Commit timestamps in archives, and of servers that start from them.

use bytes::Bytes;
use postgres_ffi::slru::slru_page;
use postgres_ffi::{CheckPoint, SlruKind};

use super::boot::boot;
use super::*;
use crate::keymap::Keymap;

const ON: &str = "max_prepared_transactions = 10\nautovacuum = off\ntrack_commit_timestamp = on\n";
const OFF: &str = "max_prepared_transactions = 10\nautovacuum = off\n";

const WORKLOAD: [&str; 5] = [
    "CREATE TABLE t AS SELECT 1 n",
    "BEGIN; INSERT INTO t VALUES (2); SAVEPOINT s; INSERT INTO t VALUES (3); COMMIT",
    "BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION 'p'",
    "DO $$ BEGIN FOR i IN 5..2000 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$",
    "SELECT pg_switch_wal()",
];

const TIMESTAMPS: &str =
    "SELECT string_agg(n || ' ' || pg_xact_commit_timestamp(xmin), ',' ORDER BY n) FROM t";

#[tokio::test]
async fn a_booted_server_knows_when_transactions_committed() {
    let mut imported = Imported::fresh().await;
    imported.run(ON, &WORKLOAD).await;
    let mut cluster = boot(&imported, ON).await;
    imported.cluster.start();
    let expected = imported.cluster.sql(TIMESTAMPS);
    assert_eq!(expected.split(',').count(), 1999);
    assert_eq!(cluster.sql(TIMESTAMPS), expected);
    cluster.sql("COMMIT PREPARED 'p'");
    let prepared = "SELECT pg_xact_commit_timestamp(xmin) IS NOT NULL FROM t WHERE n = 4";
    assert_eq!(cluster.sql(prepared), "t");
    cluster.stop("fast");
    cluster.start();
    assert_eq!(cluster.sql(prepared), "t");
}

#[tokio::test]
async fn a_server_starts_with_the_setting_turned_off() {
    let mut imported = Imported::fresh().await;
    imported.run(ON, &WORKLOAD).await;
    let cluster = boot(&imported, OFF).await;
    cluster.sql("COMMIT PREPARED 'p'; INSERT INTO t VALUES (0)");
    assert_eq!(cluster.sql("SELECT count(*) FROM t"), "2001");
    assert_eq!(cluster.sql("SHOW track_commit_timestamp"), "off");
}

#[tokio::test]
async fn a_server_starts_with_the_setting_turned_on() {
    let mut imported = Imported::fresh().await;
    imported.run(OFF, &WORKLOAD).await;
    let entries = unpack(&imported.backup(BackupKind::Bootable).await);
    assert!(!entries.keys().any(|path| path.starts_with("pg_commit_ts/")));
    let cluster = boot(&imported, ON).await;
    cluster.sql("INSERT INTO t VALUES (0)");
    let known = "SELECT n FROM t WHERE pg_xact_commit_timestamp(xmin) IS NOT NULL";
    assert_eq!(cluster.sql(known), "0");
}

/// A timeline whose next transaction lies on page 73, with nothing after page 72 stored, and with
/// a prepared transaction on page 0.
async fn with_missing_pages() -> Imported {
    let mut imported = Imported::fresh().await;
    let (prev, _) = imported.position;
    let lsn = prev + 8;
    let mut control = Keymap::at(&imported.store, prev).parsed_control_file().await.unwrap();
    control.set_track_commit_timestamp(true);
    let mut modification = DatadirModification::begin(&imported.store, imported.major, prev);
    modification.set_lsn(lsn).unwrap();
    modification.put_control_file(control.to_bytes().into());
    modification.put_checkpoint(&CheckPoint {
        next_xid: 60_000,
        newest_commit_ts_xid: 59_500,
        ..control.checkpoint()
    });
    modification.put_two_phase_file(700, Bytes::from_static(b"state")).await.unwrap();
    modification.put_slru_zero_page(SlruKind::CommitTs, slru_page(72)).await.unwrap();
    modification.commit().await.unwrap();
    drop(modification);
    imported.position = (lsn, prev);
    imported
}

fn commit_ts_files(tar: &[u8]) -> Vec<(String, usize)> {
    let files = unpack(tar).into_iter().filter(|(path, _)| path.starts_with("pg_commit_ts/"));
    files.map(|(path, content)| (path, content.unwrap().len() / 8192)).collect()
}

#[tokio::test]
async fn a_bootable_backup_has_the_pages_of_all_that_may_still_commit() {
    let imported = with_missing_pages().await;
    let files = commit_ts_files(&imported.backup(BackupKind::Bootable).await);
    assert_eq!(files, [("pg_commit_ts/0000".to_owned(), 1), ("pg_commit_ts/0002".to_owned(), 10)]);
}

#[tokio::test]
async fn other_backups_have_the_pages_that_are_stored() {
    let imported = with_missing_pages().await;
    for kind in [BackupKind::Full, BackupKind::Sparse { lazy_slru: true }] {
        let files = commit_ts_files(&imported.backup(kind).await);
        assert_eq!(files, [("pg_commit_ts/0002".to_owned(), 9)], "{kind:?}");
    }
}
