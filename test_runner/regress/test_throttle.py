"""A tenant's reads are held back to the rate that its options allow."""

from __future__ import annotations

import time

import psycopg
import pytest
from fixtures.common import wait_until
from fixtures.neon_fixtures import NeonEnvBuilder
from fixtures.pageserver_http import ApiException


def test_reads_are_held_back(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"compaction_period": "1s"}
    env = neon_env_builder.init_start()
    http, tenant, timeline = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    lsn = http.last_record_lsn(tenant, timeline)
    target = f"host=127.0.0.1 port={env.pageserver.pg_port} user=x dbname=x"

    def configure(**throttle: object) -> None:
        body = {"tenant_id": tenant, "compaction_period": "1s", "timeline_get_throttle": throttle}
        http.call("PUT", "/v1/tenant/config", json=body)

    def backup_s() -> float:
        started = time.monotonic()
        with psycopg.connect(target, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            with connection.cursor().copy(f"basebackup {tenant} {timeline} {lsn}") as copy:
                assert sum(len(part) for part in copy) > 100_000
        return time.monotonic() - started

    def value(name: str) -> float:
        return sum(http.metric_samples(name))

    limit = {"initial": 0, "refill_interval": "1s", "refill_amount": 20, "max": 1, "fair": True}
    # Other tasks are not concerned.
    configure(task_kinds=["GarbageCollector"], **limit)
    backup_s()
    waited = "pageserver_tenant_throttling_wait_usecs_sum_global"
    assert value(waited) == 0 == value("pageserver_tenant_throttling_count_global")

    configure(task_kinds=["PageRequestHandler", "NoSuchKind"], **limit)
    measured = "pageserver_basebackup_query_seconds_sum"
    before = value(measured)
    took_s = backup_s()
    held_back_s = value(waited) / 1e6
    # It reads some dozens of keys: what a compute needs to find the pages.
    assert took_s >= held_back_s > 1
    assert value("pageserver_tenant_throttling_count_global") > 0
    assert value(measured) - before <= took_s - held_back_s + 0.001
    assert env.pageserver.log_contains("cannot parse task kind")

    def told() -> None:
        assert env.pageserver.log_contains("shard was throttled in the last n_seconds")
        assert env.pageserver.log_contains("allowed_rps=20")

    wait_until(told)
    # A change counts at once, and one that makes no sense is refused.
    configure(task_kinds=[], **limit)
    total = value(waited)
    backup_s()
    assert value(waited) == total
    with pytest.raises(ApiException) as refused:
        configure(task_kinds=["PageRequestHandler"], **{**limit, "refill_amount": 0})
    assert refused.value.status_code == 400
