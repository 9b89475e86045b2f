"""What the pageserver tells of a timeline."""

from __future__ import annotations

import time

from fixtures.common import Lsn, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder

# Positions in the counts of directories.
DATABASES, PREPARED, RELATIONS, CLOG, MEMBERS, OFFSETS = 0, 1, 2, 4, 5, 6


def test_where_wal_came_from(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    before = http.timeline_detail(env.initial_tenant, env.initial_timeline)
    assert before["wal_source_connstr"] is None
    assert before["last_received_msg_lsn"] is None and before["last_received_msg_ts"] is None
    endpoint = env.endpoint()
    started = time.time()
    endpoint.sql("CREATE TABLE t AS SELECT 1 AS n")
    lsn = endpoint.flush_lsn()

    def shown() -> dict:
        detail = http.timeline_detail(env.initial_tenant, env.initial_timeline)
        assert Lsn(detail["last_received_msg_lsn"]) >= lsn
        return detail

    detail = wait_until(shown)
    assert detail["wal_source_connstr"] in {
        f"host=127.0.0.1 port={safekeeper.pg_port}" for safekeeper in env.safekeepers
    }
    # Within a second of the clock's grain.
    assert started - 1 <= detail["last_received_msg_ts"] / 1e6 <= time.time() + 1


def test_how_large_directories_are(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()

    def counts(lsn: Lsn | None = None) -> list[int]:
        if lsn is not None:
            http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, lsn)
        return http.timeline_detail(env.initial_tenant, env.initial_timeline)["directory_entries_counts"]

    # template1, template0, postgres, and what is shared by all.
    assert counts()[DATABASES] == 4
    assert counts()[CLOG] == counts()[MEMBERS] == counts()[OFFSETS] == 1
    # Autovacuum would make forks of relations.
    endpoint = env.endpoint(config=["max_prepared_transactions = 5", "autovacuum = off"])
    endpoint.sql("CREATE DATABASE other", "CREATE TABLE a (n int)")
    first = counts(endpoint.flush_lsn())
    endpoint.sql("CREATE TABLE b (n int)", "CREATE TABLE c (n int)")
    with endpoint.connect(autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO a VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'waits'")
    second = counts(endpoint.flush_lsn())
    assert (first[DATABASES], second[PREPARED]) == (5, 1)
    assert second[RELATIONS] == first[RELATIONS] + 2 > 200
    endpoint.sql("ROLLBACK PREPARED 'waits'", "DROP DATABASE other")
    last = counts(endpoint.flush_lsn())
    assert (last[DATABASES], last[PREPARED]) == (4, 0)


def test_how_layers_are_stacked(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"compaction_period": "0s", "compaction_threshold": "2"}
    env = neon_env_builder.init_start()
    http, tenant, timeline = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    for step in range(3):
        endpoint.sql(f"CREATE TABLE t{step} AS SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n")
        http.wait_for_last_record_lsn(tenant, timeline, endpoint.flush_lsn())
        http.timeline_checkpoint(tenant, timeline)
    endpoint.stop()
    path = f"/v1/tenant/{tenant}/timeline/{timeline}/perf_info"
    before = http.call("POST", path)
    assert any(stack["num_of_deltas_above_image"] > 0 for stack in before)
    http.timeline_compact(tenant, timeline, force_image_layer_creation="true")
    after = http.call("POST", path)
    assert all(stack["has_image"] for stack in after)
    assert all(stack["num_of_deltas_above_image"] == 0 for stack in after)
    assert any(stack["total_num_of_deltas"] > 0 for stack in after)
    starts = [stack["start"] for stack in after]
    assert starts == sorted(starts) and all(len(start) == 36 for start in starts)
