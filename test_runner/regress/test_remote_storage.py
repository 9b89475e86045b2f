"""Remote storage is the authority: local files may go, nothing is lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from fixtures.common import wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, table_digests
from fixtures.pageserver_http import ApiException

LAYER = re.compile(r"^[A-F0-9]{36}-[A-F0-9]{36}__[A-F0-9]{16}(-[A-F0-9]{16})?-[a-f0-9]{8}$")


def remote_timeline(env: NeonEnv, timeline_id: str | None = None) -> Path:
    tenant, timeline = env.initial_tenant, timeline_id or env.initial_timeline
    return env.remote_dir / "tenants" / tenant / "timelines" / timeline


def newest_index(env: NeonEnv) -> Path:
    found = sorted(remote_timeline(env).glob("index_part.json-*"))
    assert found, "no index with a generation suffix"
    return found[-1]


def test_pageserver_is_rebuilt_from_remote_storage_alone(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"checkpoint_distance": "4194304"}
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", endpoint.connstr())
    env.cli.timeline_branch("past", lsn=endpoint.flush_lsn())
    env.pg_bin.run("pgbench", "-c", "2", "-t", "500", "-n", endpoint.connstr())
    digests, lsn = table_digests(endpoint), endpoint.flush_lsn()
    endpoint.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)

    env.pageserver.stop()
    shutil.rmtree(env.pageserver.tenant_dir(env.initial_tenant) / "timelines")
    env.pageserver.start()
    assert table_digests(env.endpoint("rebuilt")) == digests
    past = env.endpoint(branch="past")
    assert past.value("SELECT count(*) FROM pgbench_history") == 0
    assert past.value("SELECT count(*) FROM pgbench_accounts") == 200_000


def test_objects_carry_the_generation_and_the_index_names_what_exists(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, endpoint.flush_lsn())

    def check() -> None:
        index = json.loads(newest_index(env).read_text())
        assert index["version"] == 7
        for name, metadata in index["layer_metadata"].items():
            stored = remote_timeline(env) / f"{name}-{metadata['generation']:08x}"
            assert LAYER.match(stored.name), stored.name
            assert stored.stat().st_size == metadata["file_size"]
        assert len(index["layer_metadata"]) >= 2

    wait_until(check)
    assert (remote_timeline(env) / "initdb.tar.zst").exists()


def test_restart_without_upload_replays_from_safekeepers(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 50000) n")
    env.pageserver.http().wait_for_last_record_lsn(
        env.initial_tenant, env.initial_timeline, endpoint.flush_lsn()
    )
    env.pageserver.kill()
    env.pageserver.start()
    fresh = endpoint
    fresh.stop()
    fresh.start()
    assert fresh.value("SELECT count(*) FROM t") == 50000


def test_safekeepers_trim_what_is_in_remote_storage(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"checkpoint_distance": "8388608"}
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    first_segment = "000000010000000000000001"
    tenant, timeline = env.initial_tenant, env.initial_timeline
    assert any(s.startswith(first_segment) for s in env.safekeepers[0].segments(tenant, timeline))
    endpoint.sql("CREATE TABLE t (n int, filler text)")
    for _ in range(4):
        endpoint.sql("INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 30000) n")
    lsn = endpoint.flush_lsn()
    env.pageserver.http().checkpoint_and_upload(tenant, timeline, lsn)

    def trimmed() -> None:
        for safekeeper in env.safekeepers:
            safekeeper.http().checkpoint(tenant, timeline)
            assert first_segment not in safekeeper.segments(tenant, timeline)

    wait_until(trimmed, timeout_s=60)
    endpoint.stop()
    assert endpoint.start().value("SELECT count(*) FROM t") == 120_000


def test_a_corrupt_index_breaks_its_timeline_and_nothing_else(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    good = env.cli.timeline_create("good", env.pg_version)
    endpoint = env.endpoint(branch="good")
    endpoint.sql("CREATE TABLE t AS SELECT 1 AS n")
    env.pageserver.stop()
    index = newest_index(env)
    whole = index.read_text()
    index.write_text(whole[: len(whole) // 2])
    env.pageserver.start()

    def broken() -> None:
        state = http.timeline_detail(env.initial_tenant, env.initial_timeline)["state"]
        assert "index_part.json" in state["Broken"]["reason"]

    wait_until(broken)
    assert env.pageserver.log_contains("index_part.json")
    wait_until(lambda: http.timeline_detail(env.initial_tenant, good))
    endpoint.stop()
    assert endpoint.start().value("SELECT n FROM t") == 1

    # Nothing was lost: with the index back the timeline is back.
    env.pageserver.stop()
    index.write_text(whole)
    env.pageserver.start()
    wait_until(lambda: http.timeline_detail(env.initial_tenant, env.initial_timeline))


def test_a_truncated_local_layer_is_fetched_again(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    env.pageserver.stop()
    directory = env.pageserver.timeline_dir(env.initial_tenant, env.initial_timeline)
    layers = [path for path in directory.iterdir() if "__" in path.name]
    assert layers
    for path in layers:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    env.pageserver.start()
    assert endpoint.start().value("SELECT count(*) FROM t") == 10000


def test_timeline_delete_leaves_nothing(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    timeline = env.cli.timeline_branch("doomed")
    with pytest.raises(ApiException) as refused:
        http.timeline_delete(env.initial_tenant, env.initial_timeline)
    assert refused.value.status_code == 412
    http.timeline_delete(env.initial_tenant, timeline)
    http.wait_for_timeline_to_be_gone(env.initial_tenant, timeline)
    left = [path for path in remote_timeline(env, timeline).glob("*")]
    assert left == []
    assert not env.pageserver.timeline_dir(env.initial_tenant, timeline).exists()


def test_load_with_small_layers(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"checkpoint_distance": "1048576"}
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    env.pg_bin.run("pgbench", "-i", "-s", "1", "-q", endpoint.connstr())
    env.pg_bin.run("pgbench", "-c", "2", "-t", "500", "-n", endpoint.connstr())
    ledger.stop()
    digests = table_digests(endpoint)
    endpoint.stop()
    layers = env.pageserver.http().layer_map(env.initial_tenant, env.initial_timeline)
    assert len(layers["historic_layers"]) > 5
    endpoint.start()
    assert table_digests(endpoint) == digests
    ledger.verify()
