"""kill -9 at every failpoint of the life of tenants and timelines: a restart finds no half of
anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from fixtures.common import new_id, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, pid_is_alive
from fixtures.pageserver_http import ApiException, PageserverHttp

ROWS = 5000


@pytest.fixture
def env(neon_env_builder: NeonEnvBuilder) -> NeonEnv:
    """A timeline with data in remote storage and an endpoint that is stopped."""
    neon_env_builder.tenant_config = {"checkpoint_distance": "1048576", "compaction_period": "0s"}
    neon_env_builder.num_safekeepers = 1
    env = neon_env_builder.init_start()
    endpoint = env.endpoint("main")
    endpoint.sql(f"CREATE TABLE t AS SELECT n FROM generate_series(1, {ROWS}) n")
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    http.timeline_checkpoint(env.initial_tenant, env.initial_timeline, wait_until_uploaded="true")
    return env


def timelines_dir(env: NeonEnv) -> Path:
    return env.remote_dir / "tenants" / env.initial_tenant / "timelines"


def ends(env: NeonEnv, pid: int) -> bool:
    """Whether the process has ended; what a failpoint does to an API call is not of interest."""

    def gone() -> None:
        assert not pid_is_alive(pid)

    try:
        wait_until(gone, timeout_s=20)
        return True
    except AssertionError:
        return False


def attempt(call: Any, *arguments: Any, **fields: Any) -> None:
    try:
        call(*arguments, **fields)
    except (ApiException, requests.RequestException):
        pass


def client(env: NeonEnv) -> PageserverHttp:
    return PageserverHttp(env.pageserver.http_port, retry_unavailable=False)


def check_consistent(env: NeonEnv) -> None:
    """Every index names what exists, nothing half-made lies about, and the data is served."""
    for index in timelines_dir(env).glob("*/index_part.json-*"):
        for name, metadata in json.loads(index.read_text())["layer_metadata"].items():
            stored = index.parent / f"{name}-{metadata['generation']:08x}"
            if index == max(index.parent.glob("index_part.json-*")):
                assert stored.stat().st_size == metadata["file_size"], stored
    http = env.pageserver.http()

    def loaded() -> None:
        assert http.tenant_status(env.initial_tenant)["state"]["slug"] == "Active"

    wait_until(loaded)
    known = {timeline["timeline_id"] for timeline in http.timeline_list(env.initial_tenant)}
    local = env.pageserver.tenant_dir(env.initial_tenant) / "timelines"
    assert {path.name for path in local.iterdir()} == known

    def clean() -> None:
        # What is being written or downloaded at the moment has such a name, but not for long.
        assert not list(local.glob("*/*___temp")) and not list(local.glob("*/*.temp_download"))

    wait_until(clean)


def check_data(env: NeonEnv) -> None:
    endpoint = next(e for e in env.endpoints if e.id == "main")
    assert endpoint.start().value("SELECT count(*) FROM t") == ROWS


CREATION_FAILPOINTS = (
    "timeline-creation-after-uninit",
    "after-timeline-dir-creation",
    "before-initdb-upload",
    "before-checkpoint-new-timeline",
    "before-upload-layer",
    "before-upload-index",
)


def test_creation_interrupted(env: NeonEnv) -> None:
    for failpoint in CREATION_FAILPOINTS:
        timeline, pid = new_id(), env.pageserver.pid
        env.pageserver.http().configure_failpoints((failpoint, "exit"))
        attempt(client(env).timeline_create, env.initial_tenant, timeline, pg_version=env.pg_version)
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start()
        # A repetition of the request succeeds, whatever the first one left.
        http = env.pageserver.http()
        created = http.timeline_create(env.initial_tenant, timeline, pg_version=env.pg_version)
        assert created["state"] == "Active"
        check_consistent(env)
    check_data(env)


BRANCHING_FAILPOINTS = (
    "after-timeline-dir-creation",
    "before-upload-index",
)


def test_branching_interrupted(env: NeonEnv) -> None:
    for failpoint in BRANCHING_FAILPOINTS:
        branch, pid = new_id(), env.pageserver.pid
        fields = {"ancestor_timeline_id": env.initial_timeline, "pg_version": env.pg_version}
        env.pageserver.http().configure_failpoints((failpoint, "exit"))
        attempt(client(env).timeline_create, env.initial_tenant, branch, **fields)
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start()
        created = env.pageserver.http().timeline_create(env.initial_tenant, branch, **fields)
        assert created["ancestor_timeline_id"] == env.initial_timeline
        check_consistent(env)
    check_data(env)


DELETION_FAILPOINTS = (
    "timeline-delete-before-index-deleted-at",
    "persist_deleted_index_part",
    "timeline-delete-before-schedule",
    "timeline-delete-before-rm",
    "timeline-delete-after-rm",
    "timeline-delete-before-index-delete",
    "timeline-delete-after-index-delete",
    "in_progress_delete",
)


def test_deletion_interrupted(env: NeonEnv) -> None:
    for failpoint in DELETION_FAILPOINTS:
        timeline, pid = new_id(), env.pageserver.pid
        http = env.pageserver.http()
        http.timeline_create(env.initial_tenant, timeline, pg_version=env.pg_version)
        http.configure_failpoints((failpoint, "exit"))
        attempt(client(env).timeline_delete, env.initial_tenant, timeline)
        assert ends(env, pid), f"{failpoint} was not passed"
        marked = any(
            "deleted_at" in index.read_text()
            for index in timelines_dir(env).glob(f"{timeline}/index_part.json-*")
        )
        env.pageserver.start()

        def missing() -> None:
            with pytest.raises(ApiException) as gone:
                http.timeline_detail(env.initial_tenant, timeline)
            assert gone.value.status_code == 404

        if not marked and list(timelines_dir(env).glob(f"{timeline}/index_part.json-*")):
            # Nothing was promised: it is still there, and can be deleted.
            wait_until(lambda: http.timeline_detail(env.initial_tenant, timeline))
            http.timeline_delete(env.initial_tenant, timeline)
        wait_until(missing)

        def nothing_left() -> None:
            assert list(timelines_dir(env).glob(f"{timeline}/*")) == []

        wait_until(nothing_left)
        check_consistent(env)
    check_data(env)


ATTACH_FAILPOINTS = (
    "before-attaching-tenant",
    "attach-before-activate",
)


def test_attach_interrupted(env: NeonEnv) -> None:
    for failpoint in ATTACH_FAILPOINTS:
        http, pid = env.pageserver.http(), env.pageserver.pid
        generation = int(http.tenant_status(env.initial_tenant)["generation"])
        http.configure_failpoints((failpoint, "exit"))
        body = {
            "mode": "AttachedSingle",
            "generation": generation + 1,
            "tenant_conf": {"checkpoint_distance": 1048576, "compaction_period": "0s"},
        }
        attempt(client(env).location_config, env.initial_tenant, body)
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start_alone()
        # The new generation was written down before it was used.
        assert int(http.tenant_status(env.initial_tenant)["generation"]) == generation + 1
        check_consistent(env)
    check_data(env)


def test_a_generation_that_cannot_be_recorded_ends_the_process(env: NeonEnv) -> None:
    http, pid = env.pageserver.http(), env.pageserver.pid
    generation = int(http.tenant_status(env.initial_tenant)["generation"])
    http.configure_failpoints(("tenant-config-before-write", "return"))
    body = {"mode": "AttachedSingle", "generation": generation + 1, "tenant_conf": {}}
    attempt(client(env).location_config, env.initial_tenant, body)
    assert ends(env, pid)
    env.pageserver.start_alone()
    assert int(http.tenant_status(env.initial_tenant)["generation"]) == generation
    check_consistent(env)
    check_data(env)


DOWNLOAD_FAILPOINTS = (
    "before-downloading-layer-stream-pausable",
    "remote-storage-download-pre-rename",
)


def test_download_interrupted(env: NeonEnv) -> None:
    for failpoint in DOWNLOAD_FAILPOINTS:
        http, pid = env.pageserver.http(), env.pageserver.pid
        http.call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": 10**12})
        http.configure_failpoints((failpoint, "exit"))
        layer = http.layer_map(env.initial_tenant, env.initial_timeline)["historic_layers"][0]
        name = layer["layer_file_name"]
        path = f"/v1/tenant/{env.initial_tenant}/timeline/{env.initial_timeline}/layer/{name}"
        attempt(client(env).call, "GET", path)
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start()
        check_consistent(env)
    check_data(env)


DETACH_FAILPOINTS = (
    "tenant-detach-before-rename",
    "tenant-detach-after-rename",
)


def test_detach_interrupted(env: NeonEnv) -> None:
    for failpoint in DETACH_FAILPOINTS:
        http, pid = env.pageserver.http(), env.pageserver.pid
        generation = int(http.tenant_status(env.initial_tenant)["generation"])
        http.configure_failpoints((failpoint, "exit"))
        attempt(client(env).location_config, env.initial_tenant, {"mode": "Detached", "tenant_conf": {}})
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start_alone()
        http.location_config(env.initial_tenant, {"mode": "Detached", "tenant_conf": {}})
        assert not env.pageserver.tenant_dir(env.initial_tenant).exists()

        def cleaned() -> None:
            assert list((env.pageserver.workdir / "tenants").iterdir()) == []

        wait_until(cleaned)
        conf = {"checkpoint_distance": 1048576, "compaction_period": "0s"}
        body = {"mode": "AttachedSingle", "generation": generation + 1, "tenant_conf": conf}
        http.location_config(env.initial_tenant, body)
        check_consistent(env)
    check_data(env)


TENANT_DELETION_FAILPOINTS = (
    "tenant-delete-before-remote",
    "tenant-delete-after-remote",
)


def test_tenant_deletion_interrupted(env: NeonEnv) -> None:
    for failpoint in TENANT_DELETION_FAILPOINTS:
        http, pid = env.pageserver.http(), env.pageserver.pid
        http.configure_failpoints((failpoint, "exit"))
        attempt(client(env).call, "DELETE", f"/v1/tenant/{env.initial_tenant}")
        assert ends(env, pid), f"{failpoint} was not passed"
        env.pageserver.start_alone()
        for _ in range(2):
            http.call("DELETE", f"/v1/tenant/{env.initial_tenant}")
            assert list(env.remote_dir.glob(f"tenants/{env.initial_tenant}*/**/*.json*")) == []
        with pytest.raises(ApiException) as gone:
            http.tenant_status(env.initial_tenant)
        assert gone.value.status_code == 404
