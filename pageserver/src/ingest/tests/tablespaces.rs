//! Tablespaces of the user that are directories in the data directory, on every version: followed,
//! made into a data directory again, and that directory started and imported.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pageserver_api::shard::ShardIdentity;
use pg_testing::TestCluster;
use postgres_ffi::PgMajor;

use super::Followed;
use super::datadir::{self, database_directories};
use crate::basebackup::{BackupKind, BackupRequest, Compression, send_basebackup};
use crate::ingest::import::{datadir_lsn, import_datadir};
use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

/// Everything that moves files between tablespaces. It ends with one that is empty, one that is the
/// default of databases, and one with relations of databases that have others as their default.
fn use_tablespaces(cluster: &TestCluster) {
    for name in ["empty", "mixed", "home", "gone"] {
        cluster.sql(&format!(
            "set allow_in_place_tablespaces = on; create tablespace {name} location ''"
        ));
    }
    cluster.sql("create table t(a int primary key, b text) tablespace mixed");
    cluster.sql("insert into t select g, repeat('x', 500) from generate_series(1, 5000) g");
    cluster.sql("create index in_gone on t(b) tablespace gone");
    cluster.sql("create unlogged table u tablespace mixed as select generate_series(1, 1000) a");
    cluster.sql("alter table t set tablespace gone; alter index t_pkey set tablespace mixed");
    cluster.sql("vacuum freeze t; alter table t set tablespace mixed");
    cluster.sql("create database source tablespace home");
    cluster.sql_in(
        "source",
        "create table t tablespace mixed as select generate_series(1, 5000) a; \
         create table in_home as select generate_series(1, 3000) a",
    );
    cluster.sql("create database by_file template source strategy file_copy");
    cluster.sql("create database by_log template source strategy wal_log");
    cluster.sql("create database other template source strategy file_copy tablespace gone");
    cluster.sql_in("by_log", "vacuum full pg_class; insert into t values (1)");
    cluster.sql("alter database by_file set tablespace pg_default");
    cluster.sql("alter database by_file set tablespace gone");
    cluster.sql_in("by_file", "delete from in_home where a > 10; vacuum in_home");
    cluster.sql("alter database by_file set tablespace pg_default");
    cluster.sql("drop database other; drop index in_gone");
    cluster.sql("checkpoint; drop tablespace gone");
}

/// The data directory that a server would start from at the end of the timeline.
async fn unpack_backup(followed: &Followed, pgdata: &Path) {
    let (lsn, prev_lsn) = (followed.store.last_record_lsn(), followed.store.prev_record_lsn());
    let (kind, major) = (BackupKind::Bootable, followed.major);
    let request = BackupRequest { lsn, prev_lsn, is_branch_point: false, kind, major };
    let mut tar = Vec::new();
    send_basebackup(&followed.store, &request, Compression::None, &mut tar).await.unwrap();
    tar::Archive::new(tar.as_slice()).unpack(pgdata).unwrap();
}

/// The files and directories of a data directory's databases and tablespaces. (Those of databases
/// without a file are made when there is one, and free space and visibility maps by VACUUM.)
fn paths(pgdata: &Path) -> BTreeSet<PathBuf> {
    let directories: BTreeSet<PathBuf> =
        database_directories(pgdata).into_values().filter(|path| !is_empty(path)).collect();
    let within = |path: &PathBuf| std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    let files = directories.iter().flat_map(within).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !name.ends_with("_fsm") && !name.ends_with("_vm") && name != "pg_internal.init"
    });
    let all = files.chain(directories.iter().cloned());
    all.map(|path| path.strip_prefix(pgdata).unwrap().to_owned()).collect()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

async fn tablespaces_come_back(major: PgMajor) {
    let mut followed = Followed::start_version(major).await;
    use_tablespaces(&followed.cluster);
    followed.cluster.stop("fast");
    let stopped = followed.cluster.pgdata();
    followed.ingest_all(&stopped.join("pg_wal")).await;
    datadir::compare(&followed.store, major, &stopped).await;

    let mut booted = TestCluster::empty(followed.cluster.bin_dir().to_owned());
    let pgdata = booted.pgdata();
    std::fs::create_dir(&pgdata).unwrap();
    unpack_backup(&followed, &pgdata).await;
    let differ: Vec<_> = paths(&pgdata).symmetric_difference(&paths(&stopped)).cloned().collect();
    assert!(differ.is_empty(), "in one data directory only: {differ:?}");
    let in_tablespaces = paths(&pgdata).iter().filter(|path| path.starts_with("pg_tblspc")).count();
    assert!(in_tablespaces > 400, "only {in_tablespaces} files and directories are in tablespaces");

    import_again(&followed, &pgdata).await;
    start_and_use(&mut booted);
}

/// The data directory is imported as one of a stock server is.
async fn import_again(followed: &Followed, pgdata: &Path) {
    let store = MemoryStore::new(followed.major);
    let lsn = datadir_lsn(pgdata).unwrap();
    let shard = ShardIdentity::unsharded();
    import_datadir(&store, shard, followed.major, pgdata, lsn).await.unwrap();
    let (first, again) = (&followed.store, &store);
    let mut expected = Keymap::at(first, first.last_record_lsn()).databases().await.unwrap();
    let found = Keymap::at(again, again.last_record_lsn()).databases().await.unwrap();
    // As those without a file had no directory.
    expected.retain(|database, _| found.contains_key(database) || database.1 == 0);
    assert_eq!(found, expected);
}

fn start_and_use(booted: &mut TestCluster) {
    std::fs::write(booted.pgdata().join("postgresql.conf"), "max_prepared_transactions = 10\n")
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(booted.pgdata(), mode).unwrap();
    booted.adopt_files();
    booted.start();
    assert_eq!(
        booted.sql("select count(*), sum(a), sum(length(b)) from t"),
        "5000|12502500|2500000"
    );
    assert_eq!(booted.sql("set enable_seqscan = off; select a from t where a = 77"), "77");
    assert_eq!(booted.sql("select count(*) from u"), "0");
    for (database, rows) in
        [("source", "5000|3000"), ("by_log", "5001|3000"), ("by_file", "5000|10")]
    {
        let count = "select (select count(*) from t), (select count(*) from in_home)";
        assert_eq!(booted.sql_in(database, count), rows, "{database}");
    }
    booted.sql("create table new tablespace empty as select 1 a; insert into u values (1)");
    booted.sql_in("source", "create table new tablespace empty as select 2 a");
    booted.sql("create database later template by_log tablespace empty");
    let location = "select pg_tablespace_location(oid) = 'pg_tblspc/' || oid from pg_tablespace \
                    where spcname = 'empty'";
    assert_eq!(booted.sql(location), "t");
    booted.sql("drop table t, u, new; drop database source; drop database later");
    booted.sql("drop database by_log; drop database by_file");
    booted.sql("drop tablespace empty; drop tablespace mixed; drop tablespace home");
    assert!(is_empty(&booted.pgdata().join("pg_tblspc")));
}

#[tokio::test]
async fn tablespaces_of_postgres_15_come_back() {
    tablespaces_come_back(PgMajor::V15).await;
}

#[tokio::test]
async fn tablespaces_of_postgres_16_come_back() {
    tablespaces_come_back(PgMajor::V16).await;
}

#[tokio::test]
async fn tablespaces_of_postgres_17_come_back() {
    tablespaces_come_back(PgMajor::V17).await;
}

#[tokio::test]
async fn tablespaces_of_postgres_18_come_back() {
    tablespaces_come_back(PgMajor::V18).await;
}

#[tokio::test]
async fn a_tablespace_elsewhere_is_followed_and_can_be_imported_through_a_link() {
    let mut followed = Followed::start_version(PgMajor::V18).await;
    let location = followed.cluster.pgdata().with_file_name("elsewhere");
    std::fs::create_dir(&location).unwrap();
    followed.cluster.adopt_files();
    followed.cluster.sql(&format!("create tablespace elsewhere location '{}'", location.display()));
    followed
        .cluster
        .sql("create table t tablespace elsewhere as select generate_series(1, 5000) a");
    let oid = followed.cluster.sql("select oid from pg_tablespace where spcname = 'elsewhere'");
    followed.cluster.stop("fast");
    let stopped = followed.cluster.pgdata();
    followed.ingest_all(&stopped.join("pg_wal")).await;
    datadir::compare(&followed.store, followed.major, &stopped).await;

    let directory = tempfile::tempdir().unwrap();
    let (pgdata, outside) = (directory.path().join("data"), directory.path().join("outside"));
    unpack_backup(&followed, &pgdata).await;
    let tablespace = pgdata.join("pg_tblspc").join(oid);
    assert!(tablespace.symlink_metadata().unwrap().is_dir(), "it is in place now");
    std::fs::rename(&tablespace, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &tablespace).unwrap();
    import_again(&followed, &pgdata).await;
}
