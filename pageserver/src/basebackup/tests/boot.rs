use super::*;

/// A data directory made from a bootable archive, started by a stock server.
pub(super) async fn boot(imported: &Imported, configuration: &str) -> TestCluster {
    let tar = imported.backup(BackupKind::Bootable).await;
    let mut cluster = TestCluster::empty(imported.cluster.bin_dir().to_owned());
    let pgdata = cluster.pgdata();
    std::fs::create_dir(&pgdata).unwrap();
    tar::Archive::new(tar.as_slice()).unpack(&pgdata).unwrap();
    std::fs::write(pgdata.join("postgresql.conf"), configuration).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&pgdata, mode).unwrap();
    cluster.adopt_files();
    cluster.start();
    cluster
}

#[tokio::test]
async fn a_stock_server_starts_from_a_bootable_backup_without_recovery() {
    let imported = Imported::fresh().await;
    let mut cluster = boot(&imported, "").await;
    assert_eq!(cluster.sql("SELECT count(*) > 300 FROM pg_class"), "t");
    let position = imported.store.last_record_lsn().normalize(WAL_SEGMENT_SIZE as u64);
    let checkpoint = cluster.sql("SELECT checkpoint_lsn FROM pg_control_checkpoint()");
    assert_eq!(checkpoint, position.to_string());
    cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) i; CHECKPOINT");
    cluster.stop("fast");
    cluster.start();
    assert_eq!(cluster.sql("SELECT count(*) FROM t"), "1000");
}

const CONFIGURATION: &str = "max_prepared_transactions = 10\nautovacuum = off\n";

const WORKLOAD: [&str; 14] = [
    "CREATE TABLE t (id int PRIMARY KEY, a int, b text) WITH (fillfactor = 80)",
    "INSERT INTO t SELECT i, i % 50, repeat(md5(i::text), 3) FROM generate_series(1, 5000) i",
    "CREATE INDEX t_a ON t (a)",
    "UPDATE t SET b = 'updated ' || id WHERE id % 3 = 0",
    "DELETE FROM t WHERE id % 7 = 0",
    "VACUUM (FREEZE) t",
    "CREATE SEQUENCE s",
    "SELECT count(nextval('s')) FROM generate_series(1, 100)",
    "CREATE UNLOGGED TABLE u (i int PRIMARY KEY)",
    "INSERT INTO u SELECT generate_series(1, 500)",
    "BEGIN; SELECT id FROM t WHERE id = 1 FOR SHARE; SAVEPOINT p; \
     UPDATE t SET a = a WHERE id = 1; COMMIT",
    "BEGIN; INSERT INTO t VALUES (100000, 1, 'prepared'); PREPARE TRANSACTION 'p1'",
    "CREATE DATABASE other",
    "BEGIN; INSERT INTO t VALUES (100001, 1, 'in flight'); SELECT pg_switch_wal(); ROLLBACK",
];

const SUMMARY: &str = "SELECT count(*), sum(id), sum(a), md5(string_agg(b, '' ORDER BY id)) FROM t";

#[tokio::test]
async fn a_booted_server_has_what_was_committed() {
    let mut imported = Imported::fresh().await;
    imported.run(CONFIGURATION, &WORKLOAD).await;
    let cluster = boot(&imported, CONFIGURATION).await;
    // The original recovers by itself from its own WAL.
    imported.cluster.start();
    assert_eq!(cluster.sql(SUMMARY), imported.cluster.sql(SUMMARY));
    let by_index = "SET enable_seqscan = off; SELECT count(*) FROM t WHERE a = 7";
    assert_eq!(cluster.sql(by_index), imported.cluster.sql(by_index));
    assert_eq!(cluster.sql("SELECT count(*) FROM u"), "0");
    assert_eq!(cluster.sql("SELECT last_value >= 100 FROM s"), "t");
    assert_eq!(cluster.sql_in("other", "SELECT count(*) > 300 FROM pg_class"), "t");
    cluster.sql("COMMIT PREPARED 'p1'");
    assert_eq!(cluster.sql("SELECT b FROM t WHERE id = 100000"), "prepared");
    cluster.sql("INSERT INTO t SELECT i, 1, '' FROM generate_series(200000, 201000) i");
    cluster.sql("VACUUM t");
    cluster.sql("INSERT INTO u VALUES (1)");
}

#[tokio::test]
async fn a_server_starts_at_a_segment_boundary() {
    let mut imported = Imported::fresh().await;
    let statements =
        ["CREATE TABLE t AS SELECT generate_series(1, 100) i", "SELECT pg_switch_wal()"];
    imported.run(CONFIGURATION, &statements).await;
    let is_boundary = |lsn: &Lsn| lsn.segment_offset(WAL_SEGMENT_SIZE as u64) == 0;
    let boundary = imported.record_ends.iter().position(is_boundary).unwrap();
    imported.position = (imported.record_ends[boundary], imported.record_ends[boundary - 1]);
    let cluster = boot(&imported, CONFIGURATION).await;
    assert_eq!(cluster.sql("SELECT sum(i) FROM t"), "5050");
}

#[tokio::test]
async fn a_server_starts_where_the_checkpoint_record_crosses_pages() {
    let mut imported = Imported::fresh().await;
    let statements = [
        "CREATE TABLE t AS SELECT generate_series(1, 100) i",
        "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_logical_emit_message(false, 'p', 'm'); END LOOP; END $$",
        // The commit makes sure that the messages before it are on disk.
        "CREATE TABLE flushed ()",
    ];
    imported.run(CONFIGURATION, &statements).await;
    let crosses = |lsn: &Lsn| (1..120).contains(&lsn.remaining_in_page());
    let crossing = imported.record_ends.iter().rposition(crosses).unwrap();
    imported.position = (imported.record_ends[crossing], imported.record_ends[crossing - 1]);
    let cluster = boot(&imported, CONFIGURATION).await;
    assert_eq!(cluster.sql("SELECT sum(i) FROM t"), "5050");
}
