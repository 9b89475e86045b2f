//! Commit timestamps of servers of every version, compared with the server's own files.

use pg_testing::{TestCluster, bin_dir};
use postgres_ffi::{PgMajor, SlruKind};

use super::Followed;
use crate::keymap::Keymap;

const ON: &str = "track_commit_timestamp = on\n";
const OFF: &str = "track_commit_timestamp = off\n";

async fn start(major: PgMajor, settings: &str) -> Followed {
    let bin_dir = bin_dir(major.number());
    Followed::start_with(TestCluster::init_with(bin_dir), settings).await
}

/// Commits of every kind, over several pages.
fn run_workload(c: &TestCluster) {
    c.sql("create table t(a int)");
    c.sql("begin; savepoint a; insert into t values (1); savepoint b; insert into t values (2); commit");
    c.sql("begin; savepoint a; insert into t values (1); prepare transaction 'commits'");
    c.sql("begin; insert into t values (2); prepare transaction 'aborts'");
    c.sql("begin; insert into t values (3); prepare transaction 'stays'");
    c.sql(
        "do $$ begin for i in 1..4000 loop begin insert into t values (i); \
         if i % 3 = 0 then raise exception 'x'; end if; \
         exception when raise_exception then null; end; end loop; end $$",
    );
    c.sql("commit prepared 'commits'; rollback prepared 'aborts'");
    c.sql("do $$ begin for i in 1..100 loop insert into t values (i); commit; end loop; end $$");
    c.sql("select pg_replication_origin_create('origin')");
    c.sql(
        "select pg_replication_origin_session_setup('origin'); insert into t values (1); \
         begin; select pg_replication_origin_xact_setup('0/1234560', '2001-02-03 04:05:06+00'); \
         insert into t values (2); commit",
    );
    c.sql("checkpoint; insert into t values (1)");
}

async fn follow_everything(major: PgMajor) {
    let mut followed = start(major, ON).await;
    run_workload(&followed.cluster);
    followed.cluster.stop("immediate");
    followed.cluster.start();
    followed.cluster.sql("insert into t values (1)");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn commit_timestamps_are_followed_on_postgres_15() {
    follow_everything(PgMajor::V15).await;
}

#[tokio::test]
async fn commit_timestamps_are_followed_on_postgres_16() {
    follow_everything(PgMajor::V16).await;
}

#[tokio::test]
async fn commit_timestamps_are_followed_on_postgres_17() {
    follow_everything(PgMajor::V17).await;
}

#[tokio::test]
async fn commit_timestamps_are_followed_on_postgres_18() {
    follow_everything(PgMajor::V18).await;
}

#[tokio::test]
async fn commit_timestamps_go_when_they_are_no_longer_recorded() {
    let mut followed = start(PgMajor::V15, ON).await;
    run_workload(&followed.cluster);
    followed.cluster.stop("fast");
    followed.cluster.configure(OFF);
    followed.cluster.start();
    followed.cluster.sql("insert into t values (1); commit prepared 'stays'");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn commit_timestamps_begin_when_the_setting_changes() {
    let mut followed = start(PgMajor::V15, "").await;
    run_workload(&followed.cluster);
    followed.cluster.stop("fast");
    followed.cluster.configure(ON);
    followed.cluster.start();
    followed.cluster.sql("insert into t values (1)");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn old_commit_timestamps_are_truncated() {
    let followed = start(PgMajor::V15, ON).await;
    let c = &followed.cluster;
    c.sql("create table t(a int)");
    // More than the transactions of a segment.
    c.sql(
        "do $$ begin for i in 1..30000 loop begin insert into t values (i); \
         exception when raise_exception then null; end; end loop; end $$",
    );
    c.sql("update pg_database set datallowconn = true where datname = 'template0'");
    for database in ["template0", "template1", "postgres"] {
        c.sql_in(database, "set vacuum_freeze_min_age = 0; vacuum freeze");
    }
    let first = c.pgdata().join("pg_commit_ts/0000");
    assert!(!first.exists(), "the server itself has truncated");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn a_cluster_with_commit_timestamps_is_imported_with_them() {
    let mut cluster = TestCluster::init();
    cluster.configure(&format!("max_prepared_transactions = 10\n{ON}"));
    cluster.start();
    run_workload(&cluster);
    cluster.stop("fast");
    // What a backup leaves out.
    for directory in ["global", "base/5"] {
        std::fs::remove_file(cluster.pgdata().join(directory).join("pg_internal.init")).unwrap();
    }
    let followed = Followed::start_with(cluster, "").await;
    let contents = Keymap::at(&followed.store, followed.import_lsn);
    assert!(contents.tracks_commit_timestamps().await.unwrap());
    assert!(contents.slru_segment_size(SlruKind::CommitTs, 0).await.unwrap() > 4);
    followed.cluster.sql("insert into t values (1)");
    followed.stop_and_compare().await;
}
