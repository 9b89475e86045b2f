"""Layers leave the local disk and come back when they are needed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fixtures.common import wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, table_digests
from fixtures.pageserver_http import ApiException, PageserverHttp
from fixtures.remote_storage import S3Store

SMALL_LAYERS = {"checkpoint_distance": "1048576", "compaction_period": "0s"}


def historic(http: PageserverHttp, env: NeonEnv) -> list[dict[str, Any]]:
    return http.layer_map(env.initial_tenant, env.initial_timeline)["historic_layers"]


def loaded_env(builder: NeonEnvBuilder, **options: str) -> tuple[NeonEnv, dict[str, str]]:
    """A tenant with many layers, all uploaded; the digests of its tables. The endpoint is stopped."""
    builder.tenant_config = {**SMALL_LAYERS, **options}
    env = builder.init_start()
    endpoint = env.endpoint("load")
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", endpoint.connstr())
    digests, lsn = table_digests(endpoint), endpoint.flush_lsn()
    endpoint.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    # Compaction has made more layers, and only what is stored can be evicted.
    http.timeline_checkpoint(env.initial_tenant, env.initial_timeline, wait_until_uploaded="true")
    assert len(historic(http, env)) > 5
    return env, digests


def set_options(http: PageserverHttp, env: NeonEnv, **options: Any) -> None:
    body = {"tenant_id": env.initial_tenant, **SMALL_LAYERS, **options}
    body["checkpoint_distance"] = int(body["checkpoint_distance"])
    http.call("PUT", "/v1/tenant/config", json=body)


def test_layers_are_evicted_and_downloaded_one_by_one(neon_env_builder: NeonEnvBuilder) -> None:
    env, _ = loaded_env(neon_env_builder)
    http = env.pageserver.http()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    layers = historic(http, env)
    assert not any(layer["remote"] for layer in layers)
    name = layers[0]["layer_file_name"]
    path = f"/v1/tenant/{tenant}/timeline/{timeline}/layer/{name}"

    def status(method: str) -> int:
        return http.session.request(method, http.base + path, timeout=60).status_code

    assert status("DELETE") == 200
    assert status("DELETE") == 304
    assert {layer["layer_file_name"] for layer in historic(http, env) if layer["remote"]} == {name}
    directory = env.pageserver.timeline_dir(tenant, timeline)
    assert not any(file.name.startswith(name) for file in directory.iterdir())
    assert status("GET") == 200
    layer = next(layer for layer in historic(http, env) if layer["layer_file_name"] == name)
    assert not layer["remote"]
    events = [event["status"] for event in layer["access_stats"]["residence_events_history"]["buffer"]]
    assert events == ["Resident", "Evicted", "Resident"]

    bad = name.replace("__", "_", 1)
    with pytest.raises(ApiException) as refused:
        http.call("DELETE", path.replace(name, bad))
    assert refused.value.status_code == 400
    with pytest.raises(ApiException) as refused:
        http.call("DELETE", path.replace(name, "0" * 36 + "-" + "F" * 36 + "__0000000000000001"))
    assert refused.value.status_code == 400

    def metric(name: str) -> float:
        return sum(http.metric_samples(name))

    assert metric("pageserver_layer_completed_evictions") >= 1
    assert metric("pageserver_remote_ondemand_downloaded_layers_total") >= 1
    assert sum(http.metric_samples("pageserver_evictions", tenant_id=tenant)) >= 1


def test_everything_evicted_is_served_again_and_all_layers_can_be_downloaded(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    # From a bucket: what comes back has travelled. And it is read past the page cache.
    neon_env_builder.store = s3_store
    neon_env_builder.pageserver_config["virtual_file_io_mode"] = "direct"
    env, digests = loaded_env(neon_env_builder)
    http = env.pageserver.http()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    outcome = http.call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": 10**12})
    finished = outcome["Finished"]
    assert finished["assumed"]["failed"]["count"] == 0
    assert finished["planned"]["fallback_to_global_lru"] is not None
    assert all(layer["remote"] for layer in historic(http, env))
    nothing = http.call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": 0})
    assert nothing == "NoPressure"

    path = f"/v1/tenant/{tenant}/timeline/{timeline}/download_remote_layers"
    with pytest.raises(ApiException) as never:
        http.call("GET", path)
    assert never.value.status_code == 404
    started = http.call("POST", path, json={"max_concurrent_downloads": 4})
    assert started["total_layer_count"] == len(historic(http, env))

    def completed() -> None:
        info = http.call("GET", path)
        assert info["state"] == "Completed"
        assert info["successful_download_count"] == info["total_layer_count"]
        assert info["failed_download_count"] == 0

    wait_until(completed)
    assert not any(layer["remote"] for layer in historic(http, env))

    http.call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": 10**12})
    assert table_digests(env.endpoint("reader")) == digests
    assert not all(layer["remote"] for layer in historic(http, env))


def test_reads_under_constant_eviction_lose_nothing(neon_env_builder: NeonEnvBuilder) -> None:
    env, _ = loaded_env(neon_env_builder)
    http = env.pageserver.http()
    evicted_before = sum(http.metric_samples("pageserver_layer_completed_evictions"))
    endpoint = env.endpoint("writer")
    ledger = Ledger(endpoint).create().start()
    stop = threading.Event()
    failures: list[Exception] = []

    def churn() -> None:
        client = env.pageserver.http()
        # The pause lets a reader use a layer that it has waited for: without one the rounds
        # follow each other faster than a slow disk brings the next layer.
        while not stop.wait(0.25):
            try:
                client.call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": 10**12})
            except ApiException as refused:
                # 503 means that the background's own round is under way.
                if refused.status_code != 503:
                    failures.append(refused)
                    return
            except Exception as failure:
                failures.append(failure)
                return

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for number in range(2):
            ledger.wait_for_progress()
            reader = env.endpoint(f"reader{number}", lsn=endpoint.flush_lsn())
            assert reader.value("SELECT count(*) FROM pgbench_accounts") == 200_000
            reader.stop(destroy=True)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    evicted = sum(http.metric_samples("pageserver_layer_completed_evictions")) - evicted_before
    assert evicted > 2 * len(historic(http, env)), "every layer was to leave again and again"
    ledger.stop()
    endpoint.stop()
    endpoint.start()
    ledger.verify()
    assert sum(http.metric_samples("pageserver_tenant_manager_unexpected_errors_total")) == 0


def test_unused_layers_leave_by_age_except_those_a_restart_needs(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    env, digests = loaded_env(neon_env_builder)
    http = env.pageserver.http()
    policy = {"kind": "LayerAccessThreshold", "period": "300ms", "threshold": "2s"}
    set_options(http, env, eviction_policy=policy)

    def evicted() -> None:
        layers = historic(http, env)
        assert any(layer["remote"] for layer in layers)
        # Imitated accesses keep what the logical size is computed from.
        assert any(not layer["remote"] for layer in layers)

    wait_until(evicted)
    tenant = env.initial_tenant
    assert sum(http.metric_samples("pageserver_evictions", tenant_id=tenant)) > 0
    soon = "pageserver_evictions_with_low_residence_duration"
    assert sum(http.metric_samples(soon, tenant_id=tenant, low_threshold_secs="86400")) > 0
    set_options(http, env, evictions_low_residence_duration_metric_threshold="1s")
    assert http.metric_samples(soon, tenant_id=tenant, low_threshold_secs="86400") == []
    assert http.metric_samples(soon, tenant_id=tenant, low_threshold_secs="1") == [0]
    assert table_digests(env.endpoint("reader")) == digests


def test_a_full_disk_is_relieved(neon_env_builder: NeonEnvBuilder) -> None:
    env, digests = loaded_env(neon_env_builder)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    http = env.pageserver.http()
    broken = env.cli.timeline_create("other", env.pg_version)
    assert broken
    total = sum(layer["layer_file_size"] for layer in historic(http, env))
    env.pageserver.stop()
    mock = f"{{ type = 'Success', blocksize = 512, total_blocks = {total * 2 // 512}, name_filter = '.*__.*' }}"
    line = (
        "disk_usage_based_eviction = { max_usage_pct = 30, min_avail_bytes = 0, period = '1s', "
        f"mock_statvfs = {mock} }}\n"
    )
    config = env.pageserver.workdir / "pageserver.toml"
    text = config.read_text().replace("[disk_usage_based_eviction]\nenabled = false\n", "")
    assert "disk_usage_based_eviction" not in text
    config.write_text(line + text)
    env.pageserver.start()

    def relieved() -> None:
        assert env.pageserver.log_contains("running disk usage based eviction due to pressure")
        assert env.pageserver.log_contains("disk usage pressure relieved")

    wait_until(relieved, timeout_s=60)
    assert any(layer["remote"] for layer in historic(http, env))
    directory = env.pageserver.timeline_dir(tenant, timeline)
    used = sum(file.stat().st_size for file in directory.iterdir() if "__" in file.name)
    assert used < total
    assert table_digests(env.endpoint("reader")) == digests


def test_a_disk_that_cannot_be_measured_is_reported(neon_env_builder: NeonEnvBuilder) -> None:
    mock = {"type": "Failure", "mocked_error": "EIO"}
    neon_env_builder.pageserver_config["disk_usage_based_eviction"] = {
        "max_usage_pct": 90, "min_avail_bytes": 0, "period": "1s", "mock_statvfs": mock,
    }
    env = neon_env_builder.init_start()

    def reported() -> None:
        assert env.pageserver.log_contains("statvfs failed")
        assert env.pageserver.log_contains("EIO")

    wait_until(reported, timeout_s=60)
    assert env.endpoint().value("SELECT 1") == 1


def test_detach_ends_a_download_that_is_stuck(neon_env_builder: NeonEnvBuilder) -> None:
    env, _ = loaded_env(neon_env_builder)
    http = env.pageserver.http()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    name = historic(http, env)[0]["layer_file_name"]
    path = f"/v1/tenant/{tenant}/timeline/{timeline}/layer/{name}"
    http.call("DELETE", path)
    http.configure_failpoints(("before-downloading-layer-stream-pausable", "pause"))
    outcome: list[Any] = []

    def download() -> None:
        client = PageserverHttp(env.pageserver.http_port, retry_unavailable=False)
        try:
            outcome.append(client.call("GET", path))
        except ApiException as failure:
            outcome.append(failure.status_code)

    thread = threading.Thread(target=download)
    thread.start()

    def at_failpoint() -> None:
        assert env.pageserver.log_contains("at failpoint before-downloading-layer-stream-pausable")

    wait_until(at_failpoint)
    detach = threading.Thread(target=http.location_config, args=(tenant, {"mode": "Detached", "tenant_conf": {}}))
    detach.start()
    wait_until(lambda: _check(env.pageserver.log_contains("Waiting for timelines...")))
    http.configure_failpoints(("before-downloading-layer-stream-pausable", "off"))
    detach.join(timeout=60)
    thread.join(timeout=60)
    assert not detach.is_alive() and not thread.is_alive()
    assert outcome in ([503], [None]), outcome
    with pytest.raises(ApiException) as gone:
        http.tenant_status(tenant)
    assert gone.value.status_code == 404
    assert not env.pageserver.tenant_dir(tenant).exists()


def _check(condition: bool) -> None:
    assert condition
