"""What PostgreSQL does comes back from storage: each test writes, boots anew and compares."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.checks import amcheck
from fixtures.common import give_to_postgres_account
from fixtures.neon_fixtures import Endpoint, NeonEnv, dump_database, table_digests


def reboot(env: NeonEnv, endpoint: Endpoint) -> Endpoint:
    """A fresh data directory from storage at the same place."""
    endpoint.stop()
    return endpoint.start()


def test_ddl_and_catalogs(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE SCHEMA app",
        "CREATE TYPE app.mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE app.parent (id serial PRIMARY KEY, mood app.mood, at timestamptz DEFAULT now())",
        "CREATE TABLE app.child (id bigserial PRIMARY KEY, parent int REFERENCES app.parent, body text)",
        "CREATE INDEX ON app.child (parent, body)",
        "CREATE VIEW app.happy AS SELECT * FROM app.parent WHERE mood = 'happy'",
        "CREATE MATERIALIZED VIEW app.counts AS SELECT count(*) FROM app.parent",
        "CREATE FUNCTION app.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2'",
        "INSERT INTO app.parent (mood) SELECT 'happy' FROM generate_series(1, 500)",
        "INSERT INTO app.child (parent, body) SELECT id, repeat(id::text, 900) FROM app.parent",
        "ALTER TABLE app.child ADD COLUMN extra int DEFAULT 7",
        "ALTER TABLE app.child ALTER COLUMN body SET STORAGE EXTERNAL",
        "REFRESH MATERIALIZED VIEW app.counts",
        "DROP INDEX app.child_parent_body_idx",
        "CREATE TABLE app.part (k int, v text) PARTITION BY RANGE (k)",
        "CREATE TABLE app.part1 PARTITION OF app.part FOR VALUES FROM (0) TO (100)",
        "INSERT INTO app.part SELECT n, 'v' FROM generate_series(0, 99) n",
        "VACUUM FULL app.child",
        "CLUSTER app.parent USING parent_pkey",
        "ANALYZE",
    )
    digests, dump = table_digests(endpoint), dump_database(env, endpoint)
    endpoint = reboot(env, endpoint)
    assert table_digests(endpoint) == digests
    assert dump_database(env, endpoint) == dump
    assert endpoint.value("SELECT app.twice(21)") == 42
    amcheck(env, endpoint)


@pytest.mark.parametrize("strategy", ["wal_log", "file_copy"])
def test_databases_are_created_and_dropped(neon_env: NeonEnv, strategy: str) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE DATABASE source")
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n", dbname="source")
    endpoint.sql("CREATE DATABASE gone", "DROP DATABASE gone")
    endpoint.sql(f"CREATE DATABASE copy TEMPLATE source STRATEGY {strategy}")
    endpoint.sql("DELETE FROM t WHERE n % 2 = 0", dbname="copy")
    expected = {name: table_digests(endpoint, name) for name in ("source", "copy")}
    endpoint = reboot(env, endpoint)
    assert {name: table_digests(endpoint, name) for name in ("source", "copy")} == expected
    names = [name for (name,) in endpoint.sql("SELECT datname FROM pg_database ORDER BY 1")]
    assert names == ["copy", "postgres", "source", "template0", "template1"]
    amcheck(env, endpoint, "copy")


def test_truncate_and_vacuum(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE TABLE shrinking (n int PRIMARY KEY, filler text)",
        "INSERT INTO shrinking SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n",
        "DELETE FROM shrinking WHERE n > 2000",
        "VACUUM (FREEZE) shrinking",
        "CREATE TABLE emptied AS SELECT n FROM generate_series(1, 10000) n",
        "TRUNCATE emptied",
        "INSERT INTO emptied VALUES (42)",
        "CREATE TABLE churned (n int PRIMARY KEY, v int) WITH (fillfactor = 50)",
        "INSERT INTO churned SELECT n, 0 FROM generate_series(1, 5000) n",
        "UPDATE churned SET v = v + 1",
        "UPDATE churned SET v = v + 1 WHERE n % 3 = 0",
        "VACUUM churned",
    )
    size = "SELECT pg_relation_size('shrinking'), pg_relation_size('emptied'), pg_relation_size('churned')"
    sizes, digests = endpoint.sql(size), table_digests(endpoint)
    endpoint = reboot(env, endpoint)
    assert endpoint.sql(size) == sizes
    assert table_digests(endpoint) == digests
    amcheck(env, endpoint)


def test_prepared_transactions_survive(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint(config=["max_prepared_transactions=10"])
    endpoint.sql("CREATE TABLE t (n int)")
    for name, value in (("committed", 1), ("aborted", 2), ("pending", 3)):
        with endpoint.connect(autocommit=False) as connection:
            connection.execute(f"INSERT INTO t VALUES ({value})")
            connection.execute(f"SAVEPOINT s; INSERT INTO t VALUES ({value}0)")
            connection.execute(f"PREPARE TRANSACTION '{name}'")
    endpoint = reboot(env, endpoint)
    prepared = endpoint.sql("SELECT gid FROM pg_prepared_xacts ORDER BY 1")
    assert prepared == [("aborted",), ("committed",), ("pending",)]
    endpoint.sql("COMMIT PREPARED 'committed'", "ROLLBACK PREPARED 'aborted'")
    endpoint = reboot(env, endpoint)
    assert endpoint.sql("SELECT n FROM t ORDER BY 1") == [(1,), (10,)]
    endpoint.sql("COMMIT PREPARED 'pending'")
    assert endpoint.sql("SELECT n FROM t ORDER BY 1") == [(1,), (3,), (10,), (30,)]
    endpoint = reboot(env, endpoint)
    assert endpoint.sql("SELECT gid FROM pg_prepared_xacts") == []
    assert len(endpoint.sql("SELECT n FROM t")) == 4


def test_subtransactions(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    with endpoint.connect(autocommit=False) as connection:
        for n in range(300):
            connection.execute(f"SAVEPOINT s{n}")
            connection.execute(f"INSERT INTO t VALUES ({n})")
            if n % 3 == 0:
                connection.execute(f"ROLLBACK TO SAVEPOINT s{n}")
        connection.commit()
    digests = table_digests(endpoint)
    assert endpoint.value("SELECT count(*) FROM t") == 200
    endpoint = reboot(env, endpoint)
    assert table_digests(endpoint) == digests


def test_multixacts(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE TABLE t (n int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT n, 0 FROM generate_series(1, 200) n",
    )
    sharers = [endpoint.connect(autocommit=False) for _ in range(4)]
    for connection in sharers:
        connection.execute("SELECT * FROM t FOR KEY SHARE")
    endpoint.sql("UPDATE t SET v = 1 WHERE n <= 100")
    for connection in sharers:
        connection.commit()
        connection.close()
    control = "SELECT next_multixact_id::text::bigint FROM pg_control_checkpoint()"
    before = endpoint.value(control)
    endpoint = reboot(env, endpoint)
    assert endpoint.value(control) >= before
    assert endpoint.value("SELECT sum(v) FROM t") == 100
    endpoint.sql("UPDATE t SET v = v + 1", "VACUUM (FREEZE) t")
    endpoint = reboot(env, endpoint)
    assert endpoint.value("SELECT sum(v) FROM t") == 300
    amcheck(env, endpoint)


def test_unlogged_tables_come_back_empty_and_sequences_go_on(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE UNLOGGED TABLE fleeting (n int PRIMARY KEY)",
        "INSERT INTO fleeting SELECT generate_series(1, 1000)",
        "CREATE SEQUENCE s",
        "SELECT nextval('s') FROM generate_series(1, 100)",
    )
    endpoint = reboot(env, endpoint)
    assert endpoint.sql("SELECT count(*) FROM fleeting") == [(0,)]
    endpoint.sql("INSERT INTO fleeting VALUES (1)")
    assert endpoint.value("SELECT nextval('s')") > 100


def test_large_objects_and_toast(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE TABLE docs (id int PRIMARY KEY, body text)",
        "ALTER TABLE docs ALTER COLUMN body SET STORAGE EXTERNAL",
        "INSERT INTO docs SELECT n, repeat(md5(n::text), 2000) FROM generate_series(1, 50) n",
        "UPDATE docs SET body = body || 'x' WHERE id % 5 = 0",
        "SELECT lo_from_bytea(4711, decode(repeat('ab', 100000), 'hex'))",
    )
    digests = table_digests(endpoint)
    large = endpoint.value("SELECT md5(lo_get(4711))")
    endpoint = reboot(env, endpoint)
    assert table_digests(endpoint) == digests
    assert endpoint.value("SELECT md5(lo_get(4711))") == large
    amcheck(env, endpoint)


def tablespaces(endpoint: Endpoint) -> dict[str, str]:
    """The locations of the user's tablespaces, by name."""
    return dict(
        endpoint.sql("SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid >= 16384")
    )


def test_tablespaces_become_directories_of_the_data_directory(
    neon_env: NeonEnv, test_output_dir: Path
) -> None:
    env = neon_env
    location = test_output_dir / "elsewhere"
    location.mkdir()
    give_to_postgres_account(location)
    endpoint = env.endpoint()
    endpoint.sql(
        "CREATE TABLESPACE in_place LOCATION ''",
        f"CREATE TABLESPACE elsewhere LOCATION '{location}'",
        "CREATE TABLESPACE empty LOCATION ''",
        "CREATE DATABASE home TABLESPACE elsewhere",
    )
    for name in ("in_place", "elsewhere"):
        endpoint.sql(
            f"CREATE TABLE in_{name} (n, t) TABLESPACE {name} AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n",
            f"CREATE INDEX ON in_{name} (t) TABLESPACE {name}",
        )
    endpoint.sql(
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 3000) n",
        "CREATE TABLE in_place TABLESPACE in_place AS SELECT n FROM t",
        dbname="home",
    )
    assert tablespaces(endpoint)["elsewhere"] == str(location)
    assert any(location.iterdir()), "what has a location is there"
    digests = {name: table_digests(endpoint, name) for name in ("postgres", "home")}
    lsn = endpoint.flush_lsn()

    endpoint = reboot(env, endpoint)
    assert {name: table_digests(endpoint, name) for name in digests} == digests
    locations = tablespaces(endpoint)
    assert sorted(locations) == ["elsewhere", "empty", "in_place"]
    for path in locations.values():
        assert (endpoint.pgdata / path).is_dir() and not (endpoint.pgdata / path).is_symlink()
    amcheck(env, endpoint)
    amcheck(env, endpoint, "home")
    endpoint.sql(
        "CREATE TABLE in_empty TABLESPACE empty AS SELECT 42 AS n",
        "ALTER DATABASE home SET TABLESPACE empty",
        "DROP TABLE in_elsewhere",
        "DROP TABLESPACE elsewhere",
    )

    endpoint = reboot(env, endpoint)
    assert sorted(tablespaces(endpoint)) == ["empty", "in_place"]
    assert len(list((endpoint.pgdata / "pg_tblspc").iterdir())) == 2
    assert endpoint.value("SELECT n FROM in_empty") == 42
    assert table_digests(endpoint, "home") == digests["home"]

    # The past still has them, for a server that writes and for one in recovery.
    env.cli.timeline_branch("past", lsn=lsn)
    for past in (env.endpoint("past", branch="past"), env.endpoint("static", lsn=lsn)):
        assert tablespaces(past) == locations
        assert {name: table_digests(past, name) for name in digests} == digests
        past.stop()


def test_commit_timestamps_come_back(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint(
        config=["track_commit_timestamp=on", "max_prepared_transactions=10", "autovacuum=off"]
    )
    endpoint.sql("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    with endpoint.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        for n in range(3, 6):
            connection.execute(f"SAVEPOINT s{n}; INSERT INTO t VALUES ({n})")
        connection.commit()
    early = endpoint.flush_lsn()
    for name, n in (("committed", 6), ("pending", 7)):
        with endpoint.connect(autocommit=False) as connection:
            connection.execute(f"INSERT INTO t VALUES ({n})")
            connection.execute(f"SAVEPOINT s; INSERT INTO t VALUES ({n}0)")
            connection.execute(f"PREPARE TRANSACTION '{name}'")
    # More than the transactions of a page, of which every other one fails.
    endpoint.sql(
        "DO $$ BEGIN FOR i IN 1..2000 LOOP BEGIN INSERT INTO t VALUES (-i); "
        "IF i % 2 = 0 THEN RAISE EXCEPTION 'x'; END IF; "
        "EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
        "COMMIT PREPARED 'committed'",
        "SELECT pg_replication_origin_create('elsewhere')",
    )
    with endpoint.connect(autocommit=False) as connection:
        connection.execute("SELECT pg_replication_origin_session_setup('elsewhere')")
        connection.execute("SELECT pg_replication_origin_xact_setup('0/1230', '2001-02-03 04:05:06+00')")
        connection.execute("INSERT INTO t VALUES (8)")
        connection.commit()

    first, last = endpoint.sql("SELECT min(xmin::text::int), max(xmin::text::int) FROM t")[0]

    def timestamps(of: Endpoint) -> list[tuple[object, ...]]:
        return of.sql(
            "SELECT xid, timestamp, roident FROM generate_series(%s, %s) xid, "
            "pg_xact_commit_timestamp_origin(xid::text::xid)" % (first, last)
        )

    def of_rows(of: Endpoint, condition: str) -> list[tuple[object, ...]]:
        return of.sql(
            f"SELECT n, pg_xact_commit_timestamp(xmin) FROM t WHERE {condition} ORDER BY n"
        )

    expected = timestamps(endpoint)
    assert sum(timestamp is not None for _, timestamp, _ in expected) > 1000
    assert any(origin for _, _, origin in expected), "a transaction has an origin"
    newest = endpoint.value("SELECT xid::text::int FROM pg_last_committed_xact()")
    endpoint = reboot(env, endpoint)
    assert timestamps(endpoint) == expected
    limits = "SELECT newest_commit_ts_xid::text::int FROM pg_control_checkpoint()"
    assert endpoint.value(limits) == newest

    endpoint.sql("COMMIT PREPARED 'pending'", "INSERT INTO t VALUES (9)")
    late = of_rows(endpoint, "n IN (7, 70, 9)")
    assert len(late) == 3 and all(timestamp is not None for _, timestamp in late)
    endpoint = reboot(env, endpoint)
    assert of_rows(endpoint, "n IN (7, 70, 9)") == late
    early_rows = of_rows(endpoint, "n BETWEEN 1 AND 5")

    env.cli.timeline_branch("before", lsn=early)
    branch = env.endpoint(branch="before", config=["track_commit_timestamp=on"])
    assert of_rows(branch, "true") == early_rows
    branch.stop()


def test_commit_timestamps_can_be_turned_off_and_on_again(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    known = "SELECT n FROM t WHERE pg_xact_commit_timestamp(xmin) IS NOT NULL ORDER BY n"
    for number, expected in ((2, [(2,)]), (3, [(2,), (3,)])):
        endpoint.configure("track_commit_timestamp=on")
        endpoint = reboot(env, endpoint)
        endpoint.sql(f"INSERT INTO t VALUES ({number})")
        assert endpoint.sql(known) == expected
    endpoint.configure("track_commit_timestamp=off")
    endpoint = reboot(env, endpoint)
    endpoint.sql("INSERT INTO t VALUES (4)")
    with pytest.raises(Exception, match="could not get commit timestamp data"):
        endpoint.sql(known)
    endpoint.configure("track_commit_timestamp=on")
    endpoint = reboot(env, endpoint)
    endpoint.sql("INSERT INTO t VALUES (5)")
    assert endpoint.sql(known) == [(5,)]
    endpoint = reboot(env, endpoint)
    assert endpoint.sql(known) == [(5,)]
