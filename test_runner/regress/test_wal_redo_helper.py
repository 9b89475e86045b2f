"""Pages that a helper process rebuilds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.checks import amcheck
from fixtures.common import wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, pid_is_alive, table_digests


@pytest.fixture
def helper_env(neon_env_builder: NeonEnvBuilder) -> Iterator[NeonEnv]:
    helper = str(Path(neon_env_builder.bin_dir) / "wal_redo")
    neon_env_builder.pageserver_config.update(
        wal_redo_engine="process",
        wal_redo_helper=[helper, "--pg-version", "{version}"],
        wal_redo_record_failures=True,
    )
    yield neon_env_builder.init_start()


def helper_pid(env: NeonEnv) -> int | None:
    process = env.pageserver.http().tenant_status(env.initial_tenant)["walredo"]["process"]
    return process["pid"] if process else None


def test_an_endpoint_runs_on_pages_of_the_helper(helper_env: NeonEnv) -> None:
    env = helper_env
    endpoint = env.endpoint(start=True)
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", endpoint.connstr())
    env.pg_bin.run("pgbench", "-c", "4", "-t", "300", endpoint.connstr())
    endpoint.sql("CREATE TABLE t AS SELECT g, repeat('x', g % 100) FROM generate_series(1, 5000) g")
    endpoint.sql("UPDATE t SET g = -g WHERE g % 3 = 0")
    before = table_digests(endpoint)
    endpoint.stop()
    endpoint.start()
    assert table_digests(endpoint) == before
    amcheck(env, endpoint)
    pid = helper_pid(env)
    assert pid and pid_is_alive(pid)
    assert f"--tenant-shard-id\0{env.initial_tenant}" in Path(f"/proc/{pid}/cmdline").read_text()

    # A process that is killed is replaced, and nobody notices.
    os.kill(pid, signal.SIGKILL)
    endpoint.stop()
    endpoint.start()
    assert table_digests(endpoint) == before
    replacement = helper_pid(env)
    assert replacement and replacement != pid
    assert not list(env.pageserver.tenant_dir(env.initial_tenant).glob("*.walredo"))

    # The process ends with its tenant.
    endpoint.stop()
    detached = {"mode": "Detached", "tenant_conf": {}}
    env.pageserver.http().location_config(env.initial_tenant, detached)
    wait_until(lambda: _assert_gone(replacement))


def _assert_gone(pid: int) -> None:
    assert not pid_is_alive(pid)
