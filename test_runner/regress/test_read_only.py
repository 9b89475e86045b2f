"""Read-only endpoints: fixed at an LSN, and following a primary."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from fixtures.common import give_to_postgres_account, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, table_digests


def test_a_static_endpoint_shows_its_lsn(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint()
    main.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    lsn, digests = main.flush_lsn(), table_digests(main)
    main.sql("DELETE FROM t WHERE n % 2 = 0", "CREATE TABLE later AS SELECT 1 AS n")
    static = env.endpoint("static", lsn=lsn)
    assert table_digests(static) == digests
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        static.sql("INSERT INTO t VALUES (0)")
    assert main.value("SELECT count(*) FROM t") == 500


def test_a_hot_standby_follows_its_primary(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint("primary")
    main.sql("CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 1000)", "CHECKPOINT")
    in_flight = main.connect(autocommit=False)
    in_flight.execute("INSERT INTO t VALUES (-1)")
    standby = env.endpoint("standby", hot_standby=True)

    def sees(count: int) -> None:
        assert standby.value("SELECT count(*) FROM t") == count

    wait_until(lambda: sees(1000), timeout_s=60)
    main.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
    wait_until(lambda: sees(2000), timeout_s=60)
    in_flight.commit()
    in_flight.close()
    wait_until(lambda: sees(2001), timeout_s=60)
    assert standby.value("SELECT pg_is_in_recovery()") is True

    # The primary restarts under it; it goes on.
    main.stop()
    main.start()
    main.sql("INSERT INTO t VALUES (0)")
    wait_until(lambda: sees(2002), timeout_s=90)


def test_a_hot_standby_follows_tablespaces(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint("primary")
    main.sql(
        "CREATE TABLESPACE first LOCATION ''",
        "CREATE TABLE in_first TABLESPACE first AS SELECT 1 AS n",
        "CHECKPOINT",
    )
    # It begins with the first, as a directory, and replays what comes then.
    standby = env.endpoint("standby", hot_standby=True)
    assert standby.value("SELECT n FROM in_first") == 1
    main.sql(
        "CREATE TABLESPACE second LOCATION ''",
        "CREATE TABLE in_second TABLESPACE second AS SELECT 2 AS n",
        "CREATE DATABASE home TABLESPACE second",
        "DROP TABLE in_first",
        "DROP TABLESPACE first",
    )

    def follows() -> None:
        names = standby.sql("SELECT spcname FROM pg_tablespace WHERE oid >= 16384")
        assert names == [("second",)]

    wait_until(follows, timeout_s=60)
    assert standby.value("SELECT n FROM in_second") == 2
    assert standby.value("SELECT count(*) > 0 FROM pg_class", dbname="home")
    assert len(list((standby.pgdata / "pg_tblspc").iterdir())) == 1


def test_a_hot_standby_that_cannot_have_a_location_starts_behind_it(
    neon_env: NeonEnv, test_output_dir: Path
) -> None:
    env = neon_env
    location, hidden = test_output_dir / "location", test_output_dir / "hidden"
    location.mkdir()
    give_to_postgres_account(location)
    main = env.endpoint("primary")
    main.sql(
        f"CREATE TABLESPACE elsewhere LOCATION '{location}'",
        "CREATE TABLE t TABLESPACE elsewhere AS SELECT 1 AS n",
    )
    # As on another machine.
    location.rename(hidden)
    standby = env.endpoint("standby", hot_standby=True, start=False)
    with pytest.raises(RuntimeError):
        standby.start()
    assert f'directory "{location}" does not exist' in standby.log_file.read_text()
    hidden.rename(location)
    main.sql("CHECKPOINT")

    def starts() -> None:
        standby.start()

    wait_until(starts, timeout_s=60)
    assert standby.value("SELECT n FROM t") == 1
    where = standby.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'elsewhere'")
    assert (standby.pgdata / where).is_dir() and not (standby.pgdata / where).is_symlink()


def test_a_hot_standby_under_load(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint("primary")
    ledger = Ledger(main).create().start()
    ledger.wait_for_progress()
    main.sql("CHECKPOINT")
    standby = env.endpoint("standby", hot_standby=True)
    ledger.wait_for_progress()
    ledger.stop()
    wait_until(lambda: ledger.verify(standby), timeout_s=60)
