//! One test per kind of activity; the comparison with the data directory is the assertion.

use super::Followed;

#[tokio::test]
async fn ddl_is_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int primary key, b text, c tsvector, d point, e int[])");
    c.sql("create index on t using brin(a)");
    c.sql("create index on t using gin(c)");
    c.sql("create index on t using gist(d)");
    c.sql("create index on t using spgist(d)");
    c.sql("create index on t using hash(b)");
    c.sql(
        "insert into t select g, 'row ' || g, to_tsvector('a b c' || g), point(g, g % 7), \
         array[g] from generate_series(1, 5000) g",
    );
    c.sql("create unlogged table u as select * from t");
    c.sql("create sequence s; select nextval('s') from generate_series(1, 100)");
    c.sql("create materialized view m as select a, b from t where a % 2 = 0");
    c.sql("alter table t add column f int default 5; alter table t alter e type bigint[]");
    c.sql("create table p(a int, b text) partition by range (a)");
    c.sql("create table p1 partition of p for values from (0) to (100)");
    c.sql("insert into p select g, repeat('long', 3000) from generate_series(1, 50) g");
    c.sql("drop table u; refresh materialized view m");
    c.sql("create table dropped as select * from t; drop table dropped");
    c.sql("create temporary table tmp as select 1; reindex table t");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn changes_to_rows_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int primary key, b text)");
    c.sql("insert into t select g, repeat('x', g % 2000) from generate_series(1, 20000) g");
    c.sql("vacuum freeze t");
    c.sql("update t set b = b || 'y' where a % 3 = 0");
    c.sql("delete from t where a % 5 = 0");
    c.sql("begin; select count(*) from (select 1 from t where a % 7 = 0 for update) x; rollback");
    c.sql("insert into t select g, 'z' from generate_series(30001, 40000) g");
    c.sql(
        "copy t to '/dev/null'; vacuum t; vacuum full t; vacuum freeze t; cluster t using t_pkey",
    );
    c.sql("delete from t where a > 1000; vacuum t; truncate t; insert into t values (1)");
    c.sql("checkpoint");
    c.sql("delete from t");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn visibility_bits_are_cleared_on_several_map_pages() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int, b text) with (fillfactor = 50)");
    c.sql("alter table t alter b set storage plain");
    c.sql("insert into t select g, repeat('x', 3500) from generate_series(1, 40000) g");
    c.sql("vacuum freeze t");
    c.sql("update t set b = 'moved' where a in (1, 17, 39999)");
    c.sql("delete from t where a in (2, 32800)");
    c.sql("begin; select a from t where a = 5 for update; commit");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn pgbench_is_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.client("pgbench", &["-i", "-q", "-s", "2", "postgres"]);
    c.client("pgbench", &["-c", "4", "-t", "500", "postgres"]);
    c.sql("checkpoint");
    c.client("pgbench", &["-c", "4", "-t", "500", "postgres"]);
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn databases_are_created_and_dropped() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create database source");
    c.sql_in(
        "source",
        "create table t as select generate_series(1, 10000) a; create unlogged table u(a int)",
    );
    c.sql("create database by_log template source strategy wal_log");
    c.sql("create database by_file template source strategy file_copy");
    c.sql_in("by_file", "insert into t select generate_series(1, 100); drop table u");
    c.sql_in("by_log", "create index on t(a)");
    c.sql("create database gone strategy wal_log");
    c.sql("drop database gone");
    c.sql("drop database source");
    c.sql("create database gone strategy file_copy");
    c.sql("drop database gone");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn relation_maps_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("vacuum full pg_class; vacuum full pg_database");
    c.sql("reindex system postgres");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn truncation_and_rollback_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int primary key, b text)");
    c.sql("insert into t select g, repeat('x', 500) from generate_series(1, 20000) g");
    c.sql("vacuum t; delete from t where a > 5000; vacuum t");
    c.sql("begin; truncate t; insert into t values (1); rollback");
    c.sql("begin; create table gone as select * from t; savepoint s; drop table t; rollback");
    c.sql("begin; truncate t; commit");
    c.sql("insert into t select g, '' from generate_series(1, 100) g");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn prepared_transactions_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int)");
    c.sql("begin; insert into t values (1); prepare transaction 'stays'");
    c.sql("begin; insert into t values (2); create table t2(a int); prepare transaction 'commits'");
    c.sql("begin; savepoint a; insert into t values (3); savepoint b; insert into t values (3); prepare transaction 'aborts'");
    c.sql("checkpoint");
    c.sql("commit prepared 'commits'");
    c.sql("rollback prepared 'aborts'");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn subtransactions_over_several_commit_log_pages_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int)");
    c.sql(
        "do $$ begin for i in 1..40000 loop begin insert into t values (i); \
         if i % 3 = 0 then raise exception 'x'; end if; \
         exception when others then null; end; end loop; end $$",
    );
    c.sql("begin; insert into t values (1); rollback");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn multixacts_are_followed() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int primary key, b int); insert into t select g, 0 from generate_series(1, 3000) g");
    c.sql("begin; select * from t where a = 1 for key share; prepare transaction 'one'");
    c.sql("begin; select * from t where a = 1 for key share; prepare transaction 'two'");
    c.sql("begin; select * from t where a = 1 for key share; prepare transaction 'three'");
    // Every row gets a multixact of the transaction and a subtransaction: more than a page.
    c.sql(
        "do $$ begin for i in 1..3000 loop perform 1 from t where a = i for key share; \
         begin update t set b = b + 1 where a = i; exception when others then null; end; \
         end loop; end $$",
    );
    c.sql("rollback prepared 'one'; ");
    c.sql("commit prepared 'two'");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn old_transactions_and_multixacts_are_truncated() {
    let followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("create table t(a int primary key, b int); insert into t select g, 0 from generate_series(1, 100) g");
    c.sql(
        "do $$ begin for i in 1..100 loop perform 1 from t where a = i for key share; \
         begin update t set b = b + 1 where a = i; exception when others then null; end; \
         end loop; end $$",
    );
    c.sql("set vacuum_freeze_min_age = 0; set vacuum_multixact_freeze_min_age = 0; vacuum freeze");
    for database in ["template1", "postgres"] {
        c.sql_in(database, "vacuum freeze");
    }
    c.sql("update pg_database set datallowconn = true where datname = 'template0'");
    c.sql_in("template0", "vacuum freeze");
    c.sql("update pg_database set datallowconn = false where datname = 'template0'");
    c.sql("vacuum freeze");
    followed.stop_and_compare().await;
}

#[tokio::test]
async fn aux_files_and_origins_are_stored() {
    use crate::keymap::{KeyStore, Keymap};
    let mut followed = Followed::start().await;
    let c = &followed.cluster;
    c.sql("select pg_logical_emit_message(false, 'neon-file:pg_replslot/a/state', 'content')");
    c.sql("select pg_logical_emit_message(true, 'other', 'content')");
    c.sql("select pg_replication_origin_create('origin')");
    c.sql(
        "select pg_replication_origin_session_setup('origin'); begin; \
         select pg_replication_origin_xact_setup('0/1234560', now()); \
         create table t(a int); commit",
    );
    followed.cluster.stop("fast");
    followed.ingest_all(&followed.cluster.pgdata().join("pg_wal")).await;
    let contents = Keymap::at(&followed.store, followed.store.last_record_lsn());
    let files = contents.aux_files().await.unwrap();
    assert_eq!(files["pg_replslot/a/state"], "content");
    assert_eq!(files.len(), 1);
    let origins = contents.repl_origins().await.unwrap();
    assert_eq!(origins.into_iter().collect::<Vec<_>>(), [(1, utils::Lsn(0x1234560))]);
}

#[tokio::test]
async fn a_time_leads_to_the_commit_before_it() {
    use crate::keymap::{KeyStore, Keymap, LsnForTimestampKind};
    let mut followed = Followed::start().await;
    let c = &followed.cluster;
    let micros = "select (extract(epoch from clock_timestamp() - '2000-01-01') * 1000000)::bigint";
    c.sql("create table t(a int)");
    let before: i64 = c.sql(micros).parse().unwrap();
    let lsn: utils::Lsn = c.sql("select pg_current_wal_insert_lsn()").parse().unwrap();
    c.sql("insert into t values (1)");
    followed.cluster.stop("fast");
    followed.ingest_all(&followed.cluster.pgdata().join("pg_wal")).await;
    let contents = Keymap::at(&followed.store, followed.store.last_record_lsn());
    let cancel = Default::default();
    let start = followed.import_lsn;
    let found = contents.find_lsn_for_timestamp(before, start, &cancel).await.unwrap();
    assert_eq!(found.kind, LsnForTimestampKind::Present);
    assert!(found.lsn >= lsn, "{found:?} {lsn}");
    let latest = contents.timestamp_for_lsn().await.unwrap().unwrap();
    assert!(latest > before);
    let future = contents.find_lsn_for_timestamp(latest + 1, start, &cancel).await.unwrap();
    assert_eq!(future.kind, LsnForTimestampKind::Future);
    assert_eq!(future.lsn, contents.lsn());
}
