"""The whole path on every supported major: write, branch, stop, boot from storage, compare."""

from __future__ import annotations

import pytest
from fixtures.checks import amcheck
from fixtures.neon_fixtures import NeonEnv, dump_database, table_digests
from fixtures.plugin import ALL_PG_VERSIONS


@pytest.mark.parametrize("pg_version", ALL_PG_VERSIONS)
def test_history_survives_and_branches(neon_env: NeonEnv, pg_version: int) -> None:
    env = neon_env
    main = env.endpoint()
    env.pg_bin.run("pgbench", "-i", "-s", "1", "-q", main.connstr())
    before = main.flush_lsn()
    digests_before = table_digests(main)

    env.pg_bin.run("pgbench", "-c", "4", "-t", "250", "-n", main.connstr())
    main.sql("CREATE TABLE later (t text)", "INSERT INTO later VALUES ('only on main')")
    assert main.value("SELECT count(*) FROM pgbench_history") == 1000

    env.cli.timeline_branch("past", lsn=before)
    past = env.endpoint(branch="past")
    assert table_digests(past) == digests_before
    assert past.value("SELECT to_regclass('later')") is None
    past.sql("INSERT INTO pgbench_history (tid) VALUES (1)")

    digests, dump = table_digests(main), dump_database(env, main)
    main.stop(destroy=True)
    again = env.endpoint("again")
    assert table_digests(again) == digests
    assert dump_database(env, again) == dump
    amcheck(env, again)
    amcheck(env, past)
    assert past.value("SELECT count(*) FROM pgbench_history") == 1


def test_an_endpoint_restarts_many_times(neon_env: NeonEnv) -> None:
    endpoint = neon_env.endpoint(start=False)
    for generation in range(4):
        endpoint.start()
        endpoint.sql("CREATE TABLE IF NOT EXISTS starts (generation int)")
        endpoint.sql(f"INSERT INTO starts VALUES ({generation})")
        endpoint.stop(mode="fast" if generation % 2 else "immediate")
    endpoint.start()
    rows = endpoint.sql("SELECT generation FROM starts ORDER BY 1")
    assert rows == [(generation,) for generation in range(4)]
