"""Locations: every role can follow every other, on several nodes, and nothing is lost."""

from __future__ import annotations

import json
import random
import re
import shutil
from typing import Any

import pytest
from fixtures.common import Lsn, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, NeonPageserver, pid_is_alive, table_digests
from fixtures.pageserver_http import ApiException, PageserverHttp
from fixtures.remote_storage import S3Store, check_that_indexed_objects_exist

OPTIONS = {"checkpoint_distance": "1048576", "compaction_period": "0s"}
LAYER = re.compile(r"^[A-F0-9]{36}-[A-F0-9]{36}__[A-F0-9]{16}(-[A-F0-9]{16})?-v1-[a-f0-9]{8}$")


def tenant_conf(env: NeonEnv) -> dict[str, Any]:
    conf: dict[str, Any] = dict(env.builder.tenant_config)
    if "checkpoint_distance" in conf:
        conf["checkpoint_distance"] = int(conf["checkpoint_distance"])
    return conf


def put(
    env: NeonEnv, node: NeonPageserver, mode: str, generation: int | None = None, **query: Any
) -> Any:
    body: dict[str, Any] = {"mode": mode, "tenant_conf": tenant_conf(env)}
    if generation is not None:
        body["generation"] = generation
    if mode == "Secondary":
        body["secondary_conf"] = {"warm": True}
    return node.http().location_config(env.initial_tenant, body, **query)


def generation_of(env: NeonEnv, node: NeonPageserver) -> int:
    return int(node.http().tenant_status(env.initial_tenant)["generation"])


def wait_active(env: NeonEnv, node: NeonPageserver) -> None:
    def active() -> None:
        assert node.http().tenant_status(env.initial_tenant)["state"]["slug"] == "Active"

    wait_until(active)


def location(env: NeonEnv, node: NeonPageserver) -> Any:
    return node.http().call("GET", f"/v1/location_config/{env.initial_tenant}")


def home_of(env: NeonEnv) -> NeonPageserver:
    """The node that the initial tenant is attached to."""
    for node in env.pageservers:
        try:
            node.http().tenant_status(env.initial_tenant)
            return node
        except ApiException as failure:
            assert failure.status_code == 404
    raise AssertionError("the tenant is attached nowhere")


def local_layers(env: NeonEnv, node: NeonPageserver) -> set[str]:
    directory = node.timeline_dir(env.initial_tenant, env.initial_timeline)
    return {path.name for path in directory.glob("*") if LAYER.match(path.name)}


def download_all(env: NeonEnv, node: NeonPageserver) -> Any:
    """What a controller does before a migration: ask until everything is here."""
    path = f"/v1/tenant/{env.initial_tenant}/secondary/download"
    last = {"layers_downloaded": 0}

    def finished() -> Any:
        answer = node.http().session.post(node.http().base + path, params={"wait_ms": 100}, timeout=60)
        assert answer.status_code in (200, 202), answer.text
        progress = answer.json()
        assert progress["layers_downloaded"] >= last["layers_downloaded"], "progress goes on"
        last.update(progress)
        assert answer.status_code == 200
        return progress

    return wait_until(finished)


def two_nodes(builder: NeonEnvBuilder) -> tuple[NeonEnv, NeonPageserver, NeonPageserver]:
    builder.num_pageservers = 2
    builder.tenant_config = dict(OPTIONS)
    env = builder.init_start()
    home = home_of(env)
    other = next(node for node in env.pageservers if node is not home)
    return env, home, other


def load(env: NeonEnv, home: NeonPageserver) -> tuple[dict[str, str], Lsn]:
    endpoint = env.endpoint("load")
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", endpoint.connstr())
    digests, lsn = table_digests(endpoint), endpoint.flush_lsn()
    endpoint.stop()
    http = home.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    # Compaction has made more layers: heatmaps name, and evictions take, only what is stored.
    http.timeline_checkpoint(env.initial_tenant, env.initial_timeline, wait_until_uploaded="true")
    return digests, lsn


def test_a_warm_secondary_takes_over_without_downloading(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    # Heatmaps and layers through a bucket, by two nodes.
    neon_env_builder.store = s3_store
    env, home, other = two_nodes(neon_env_builder)
    tenant = env.initial_tenant
    load(env, home)
    generation = generation_of(env, home)

    answer = put(env, other, "Secondary")
    assert answer == {"shards": [], "stripe_size": None}
    progress = other.http().call("GET", f"/v1/tenant/{tenant}/secondary/status")
    assert progress["layers_total"] == 0 and progress["heatmap_mtime"] is None
    with pytest.raises(ApiException) as attached:
        home.http().call("GET", f"/v1/tenant/{tenant}/secondary/status")
    assert attached.value.status_code == 404

    home.http().call("POST", f"/v1/tenant/{tenant}/heatmap_upload")
    progress = download_all(env, other)
    assert progress["layers_downloaded"] == progress["layers_total"] > 5
    assert progress["bytes_downloaded"] == progress["bytes_total"]
    assert progress["heatmap_mtime"] is not None
    assert local_layers(env, other) == local_layers(env, home)
    resident = "pageserver_secondary_resident_physical_size"
    assert other.http().metric_samples(resident, tenant_id=tenant) == [progress["bytes_total"]]

    # The order of a live migration.
    put(env, home, "AttachedStale", generation, flush_ms=10000)
    download_all(env, other)
    put(env, other, "AttachedMulti", generation + 1)
    wait_active(env, other)
    put(env, home, "Secondary")
    put(env, other, "AttachedSingle", generation + 1)
    layers = other.http().layer_map(tenant, env.initial_timeline)["historic_layers"]
    assert not any(layer["remote"] for layer in layers), "every layer was here already"
    downloads = "pageserver_remote_ondemand_downloaded_layers_total"
    assert sum(other.http().metric_samples(downloads)) == 0
    assert location(env, home)["mode"] == "Secondary"

    # And back, by way of the demoted location.
    put(env, home, "AttachedSingle", generation + 2)
    wait_active(env, home)
    put(env, other, "Detached")
    assert not other.tenant_dir(tenant).exists()
    digest = home.http().layer_map(tenant, env.initial_timeline)["historic_layers"]
    assert len(digest) == len(layers)
    assert check_that_indexed_objects_exist(env.store) > 0


def test_a_secondary_follows_its_tenant(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {}
    env, home, other = two_nodes(neon_env_builder)
    env.builder.tenant_config["heatmap_period"] = "1s"
    generation = generation_of(env, home)
    put(env, home, "AttachedSingle", generation)
    put(env, other, "Secondary")
    # From its first heatmap the secondary learns how often there is a new one; without any it
    # looks once a minute.
    home.http().call("POST", f"/v1/tenant/{env.initial_tenant}/heatmap_upload")
    download_all(env, other)
    load(env, home)

    def followed() -> None:
        assert local_layers(env, home), "layers were made"
        assert local_layers(env, home) <= local_layers(env, other)

    wait_until(followed, timeout_s=60)

    branch = env.cli.timeline_branch("short-lived")
    home.http().timeline_checkpoint(env.initial_tenant, branch)
    home.http().timeline_delete(env.initial_tenant, branch)

    def gone() -> None:
        assert not other.timeline_dir(env.initial_tenant, branch).exists()

    wait_until(gone, timeout_s=60)
    # A restart finds what was downloaded before.
    before = sum(other.http().metric_samples("pageserver_secondary_download_layer"))
    assert before > 0
    other.stop()
    other.start()
    progress = download_all(env, other)
    assert progress["layers_downloaded"] == progress["layers_total"] > 0
    assert location(env, other)["mode"] == "Secondary"


def test_layers_of_a_secondary_leave_under_disk_pressure(neon_env_builder: NeonEnvBuilder) -> None:
    env, home, other = two_nodes(neon_env_builder)
    tenant = env.initial_tenant
    load(env, home)
    put(env, other, "Secondary")
    home.http().call("POST", f"/v1/tenant/{tenant}/heatmap_upload")
    total = download_all(env, other)["bytes_total"]
    outcome = other.http().call("PUT", "/v1/disk_usage_eviction/run", json={"evict_bytes": total // 2})
    freed = outcome["Finished"]["assumed"]["projected_after"]["freed_bytes"]
    assert freed >= total // 2
    assert outcome["Finished"]["planned"]["fallback_to_global_lru"] is None
    # What was evicted stays away until the attached location uses it again.
    home.http().call("POST", f"/v1/tenant/{tenant}/heatmap_upload")
    progress = download_all(env, other)
    assert progress["bytes_total"] == total - freed


def test_a_download_in_progress_is_answered_with_202(neon_env_builder: NeonEnvBuilder) -> None:
    env, home, other = two_nodes(neon_env_builder)
    tenant = env.initial_tenant
    load(env, home)
    put(env, other, "Secondary")
    home.http().call("POST", f"/v1/tenant/{tenant}/heatmap_upload")
    other.http().configure_failpoints(("secondary-layer-download-sleep", "return(300)"))
    path = f"{other.http().base}/v1/tenant/{tenant}/secondary/download"
    answer = other.http().session.post(path, params={"wait_ms": 1}, timeout=60)
    assert answer.status_code == 202
    assert answer.json()["layers_downloaded"] < answer.json()["layers_total"] or answer.json()["layers_total"] == 0
    # A location that is promoted meanwhile has nothing to wait for any more.
    generation = generation_of(env, home)
    put(env, other, "AttachedSingle", generation + 1)
    wait_active(env, other)
    other.http().configure_failpoints(("secondary-layer-download-sleep", "off"))
    put(env, home, "Detached")


def test_every_transition_of_modes_keeps_the_data(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    """A random walk over the roles of two nodes, of which one serves at the end of each step."""
    # Listings, where a bucket differs from a directory, decide which generation is found.
    neon_env_builder.store = s3_store
    env, home, other = two_nodes(neon_env_builder)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    _, lsn = load(env, home)
    generation = generation_of(env, home)
    modes = ["AttachedSingle", "AttachedMulti", "AttachedStale", "Secondary", "Detached"]
    walk = [(a, b) for a in modes for b in modes]
    random.Random(7).shuffle(walk)
    for first, second in walk:
        for mode in (first, second):
            attached = mode.startswith("Attached")
            generation += attached
            answer = put(env, other, mode, generation if attached else None)
            again = put(env, other, mode, generation if attached else None)
            assert answer == again, "the same request twice"
            if attached:
                wait_active(env, other)
                assert other.http().last_record_lsn(tenant, timeline) >= lsn
                assert location(env, other)["generation"] == generation
                with pytest.raises(ApiException) as stale:
                    put(env, other, mode, generation - 1)
                assert stale.value.status_code == 400
                assert re.search("Generation .+ is less than existing .+", stale.value.message)
            elif mode == "Detached":
                assert not other.tenant_dir(tenant).exists()
            else:
                assert location(env, other)["mode"] == "Secondary"
    put(env, home, "Detached")
    generation += 1
    put(env, home, "AttachedSingle", generation)
    wait_active(env, home)
    assert home.http().last_record_lsn(tenant, timeline) >= lsn
    assert check_that_indexed_objects_exist(env.store) > 0
    samples = "pageserver_tenant_manager_unexpected_errors_total"
    assert sum(other.http().metric_samples(samples)) == 0


def test_two_attachments_under_write_load_do_not_disturb_each_other(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    env, home, other = two_nodes(neon_env_builder)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    generation = generation_of(env, home)
    endpoint = env.endpoint("writer")
    env.pg_bin.run("pgbench", "-i", "-s", "1", "-q", endpoint.connstr())
    put(env, other, "AttachedMulti", generation + 1)
    wait_active(env, other)
    for _ in range(3):
        env.pg_bin.run("pgbench", "-c", "2", "-t", "200", "-n", endpoint.connstr())
        lsn = endpoint.flush_lsn()
        for node in (home, other):
            node.http().checkpoint_and_upload(tenant, timeline, lsn)
        assert check_that_indexed_objects_exist(env.store) > 0
    digests = table_digests(endpoint)
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    other.http().checkpoint_and_upload(tenant, timeline, lsn)
    put(env, home, "Detached")
    put(env, other, "AttachedSingle", generation + 1)
    # The newer attachment needs nothing of the older one's local files.
    other.stop()
    shutil.rmtree(other.tenant_dir(tenant) / "timelines")
    other.start()
    wait_active(env, other)
    assert check_that_indexed_objects_exist(env.store) > 0
    put(env, home, "AttachedSingle", generation + 2)
    wait_active(env, home)
    put(env, other, "Detached")
    assert table_digests(env.endpoint("reader")) == digests


def test_bad_locations_are_refused_with_a_reason(neon_env: NeonEnv) -> None:
    env = neon_env
    http = PageserverHttp(env.pageserver.http_port)
    tenant = env.initial_tenant
    cases: list[tuple[dict[str, Any], str]] = [
        ({"mode": "AttachedSingle", "tenant_conf": {}}, "Generation must be set when attaching"),
        ({"mode": "Secondary", "generation": 5, "tenant_conf": {}}, "Generation must not be set"),
        ({"mode": "AttachedSingle", "generation": 5, "tenant_conf": None}, "Failed to parse json request"),
        ({"mode": "Sideways", "tenant_conf": {}}, "Sideways"),
        ({"mode": "Detached", "tenant_conf": {}, "colour": 1}, "unknown field"),
    ]
    for body, reason in cases:
        with pytest.raises(ApiException) as refused:
            http.location_config(tenant, body)
        assert refused.value.status_code == 400 and reason in refused.value.message, body


def test_start_phases_are_reported_and_a_stuck_tenant_does_not_block_the_rest(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    neon_env_builder.pageserver_config["background_task_maximum_delay"] = "1s"
    env = neon_env_builder.init_start()
    http = env.pageserver.http()
    phases = ["initial", "initial_tenant_load_remote", "initial_tenant_load", "background_jobs_can_start", "complete"]

    def reached(phase: str) -> list[float]:
        return http.metric_samples("pageserver_startup_duration_seconds", phase=phase)

    env.pageserver.stop()
    env.pageserver.start_alone()

    def complete() -> None:
        values = [reached(phase) for phase in phases]
        assert all(len(value) == 1 for value in values), values
        assert values == sorted(values), "phases come in order"

    wait_until(complete)
    assert http.metric_samples("pageserver_startup_is_loading") == [0]
    assert http.metric_samples("pageserver_tenant_startup_scheduled") == [1]
    wait_until(lambda: _equal(http.metric_samples("pageserver_tenant_startup_complete"), [1]))

    env.pageserver.stop()
    env.pageserver.start_alone(FAILPOINTS="before-attaching-tenant=return(5000)")
    wait_until(lambda: _equal(len(reached("background_jobs_can_start")), 1))
    assert reached("complete") == []
    assert http.metric_samples("pageserver_startup_is_loading") == [1]
    wait_until(lambda: _equal(len(reached("complete")), 1))


def _equal(left: Any, right: Any) -> None:
    assert left == right


def forget_sizes(env: NeonEnv) -> None:
    """Lets the stored indexes be as of a writer that knew no sizes."""
    found = list(env.remote_dir.glob("tenants/*/timelines/*/index_part.json-*"))
    assert found
    for path in found:
        index = json.loads(path.read_text())
        index.pop("logical_size", None)
        path.write_text(json.dumps(index))


def test_tenants_wait_for_their_turn_unless_somebody_wants_them(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    neon_env_builder.pageserver_config["concurrent_tenant_warmup"] = "1"
    env = neon_env_builder.init_start()
    for number in range(3):
        env.cli.raw("tenant", "create")
    env.pageserver.stop()
    # Otherwise nothing need be computed.
    forget_sizes(env)
    env.pageserver.start_alone(FAILPOINTS="timeline-calculate-logical-size-pause=pause")
    http = env.pageserver.http()

    def states() -> list[str]:
        return sorted(tenant["state"]["slug"] for tenant in http.tenant_list())

    wait_until(lambda: _equal(states(), ["Active", "Attaching", "Attaching", "Attaching"]))
    waiting = next(t["id"] for t in http.tenant_list() if t["state"]["slug"] == "Attaching")
    assert http.call("GET", f"/v1/tenant/{waiting}", params={"activate": "false"})["state"]["slug"] == "Attaching"
    assert http.timeline_list(waiting), "a request activates it out of turn"
    assert states() == ["Active", "Active", "Attaching", "Attaching"]
    # One that waits can be detached.
    other = next(t["id"] for t in http.tenant_list() if t["state"]["slug"] == "Attaching")
    http.location_config(other, {"mode": "Detached", "tenant_conf": {}})
    http.configure_failpoints(("timeline-calculate-logical-size-pause", "off"))
    wait_until(lambda: _equal(states(), ["Active", "Active", "Active"]))


def test_the_size_of_a_timeline_is_in_its_index(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    path = f"/v1/tenant/{env.initial_tenant}/timeline/{env.initial_timeline}"

    def sizes() -> tuple[int, int, bool]:
        info = http.call("GET", path, params={"include-non-incremental-logical-size": "true"})
        size, computed = info["current_logical_size"], info["current_logical_size_non_incremental"]
        return size, computed, info["current_logical_size_is_accurate"]

    def exact() -> int:
        size, computed, is_accurate = sizes()
        assert is_accurate and size == computed, (size, computed, is_accurate)
        return size

    endpoint = env.endpoint()
    endpoint.sql("CREATE DATABASE other", "CREATE TABLE t AS SELECT n, repeat('a', 500) FROM generate_series(1, 4000) n")
    endpoint.sql("CREATE TABLE gone AS SELECT * FROM t", "CREATE INDEX ON t (n)")
    endpoint.sql("DROP TABLE gone", "DROP DATABASE other", "TRUNCATE t", "INSERT INTO t VALUES (1, 'a')")
    endpoint.stop()
    end = env.safekeepers[0].http().commit_lsn(env.initial_tenant, env.initial_timeline)
    http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, end)
    before = wait_until(exact)
    env.pageserver.stop()
    # Nothing is computed from now on: what is accurate was kept.
    never = "timeline-calculate-logical-size-pause=pause"
    env.pageserver.start_alone(FAILPOINTS=never)
    assert exact() == before
    # After a crash as well, with WAL that is in no layer yet, and without local files.
    endpoint = env.endpoint("again")
    endpoint.sql("CREATE TABLE more AS SELECT n, repeat('b', 500) FROM generate_series(1, 1000) n")
    end = endpoint.flush_lsn()
    endpoint.stop()
    http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, end)
    grown = exact()
    assert grown > before
    env.pageserver.kill()
    shutil.rmtree(env.pageserver.timeline_dir(env.initial_tenant, env.initial_timeline))
    env.pageserver.start_alone(FAILPOINTS=never)
    http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, end)
    assert wait_until(exact) >= grown
    # An index of somebody who knew no size: computed once, and noted when the process stops.
    env.pageserver.stop()
    forget_sizes(env)
    env.pageserver.start_alone(FAILPOINTS=never)
    assert not sizes()[2]
    http.configure_failpoints(("timeline-calculate-logical-size-pause", "off"))
    grown = wait_until(exact)
    env.pageserver.stop()
    env.pageserver.start_alone(FAILPOINTS=never)
    assert exact() == grown
    # Who asks for the exact size waits for it.
    env.pageserver.stop()
    forget_sizes(env)
    env.pageserver.start_alone()
    info = http.call("GET", path, params={"force-await-initial-logical-size": "true"})
    assert info["current_logical_size_is_accurate"] and info["current_logical_size"] == grown


def test_a_failed_attach_is_broken_and_can_be_repeated(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    tenant = env.initial_tenant
    generation = generation_of(env, env.pageserver)
    for failpoint in ("attach-before-activate", "storage-sync-list-remote-timelines"):
        generation += 1
        http.configure_failpoints((failpoint, "return"))
        put(env, env.pageserver, "AttachedSingle", generation)

        def broken() -> None:
            status = http.tenant_status(tenant)
            assert status["state"]["slug"] == "Broken"
            assert failpoint in status["attachment_status"]["data"]["reason"]

        wait_until(broken)
        assert http.metric_samples("pageserver_broken_tenants_count", tenant_id=tenant) == [1]
        http.configure_failpoints((failpoint, "off"))
        put(env, env.pageserver, "AttachedSingle", generation)
        wait_active(env, env.pageserver)
    assert env.endpoint().value("SELECT 1") == 1


@pytest.mark.parametrize("immediate", [False, True])
def test_a_tenant_is_served_after_its_disk_is_lost(neon_env: NeonEnv, immediate: bool) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 20000) n")
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    generation = generation_of(env, env.pageserver)
    env.pageserver.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    pid = env.pageserver.pid
    env.pageserver.stop(immediate=immediate)
    assert not pid_is_alive(pid)
    shutil.rmtree(env.pageserver.workdir / "tenants")
    env.pageserver.start_alone()
    with pytest.raises(ApiException) as unknown:
        env.pageserver.http().tenant_status(env.initial_tenant)
    assert unknown.value.status_code == 404
    put(env, env.pageserver, "AttachedSingle", generation + 1)
    wait_active(env, env.pageserver)
    assert endpoint.start().value("SELECT count(*) FROM t") == 20000
