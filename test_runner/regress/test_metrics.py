"""What the pageserver measures of itself moves with what it does."""

from __future__ import annotations

from fixtures.common import wait_until
from fixtures.neon_fixtures import NeonEnvBuilder


def test_work_shows_in_the_metrics(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"compaction_period": "0s", "compaction_threshold": "2"}
    env = neon_env_builder.init_start()
    http, tenant, timeline = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    ids = {"tenant_id": tenant, "shard_id": "0000", "timeline_id": timeline}

    def value(name: str, **labels: str) -> float:
        return sum(http.metric_samples(name, **labels))

    def operations(operation: str) -> tuple[float, float]:
        name = "pageserver_storage_operations_seconds"
        return (
            value(f"{name}_count", operation=operation, **ids),
            value(f"{name}_sum", operation=operation, **ids),
        )

    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n")
    lsn = endpoint.flush_lsn()
    http.wait_for_last_record_lsn(tenant, timeline, lsn)
    assert value("pageserver_timeline_ephemeral_bytes") > 100_000
    assert value("pageserver_wait_lsn_seconds_count") > 0
    flushes = operations("layer flush")
    http.timeline_checkpoint(tenant, timeline, force_image_layer_creation="true")
    endpoint.stop()

    def written_out() -> None:
        http.timeline_checkpoint(tenant, timeline)
        assert value("pageserver_timeline_ephemeral_bytes") == 0

    wait_until(written_out)
    after = operations("layer flush")
    assert after[0] > flushes[0] and after[1] > flushes[1]
    assert min(operations("compact")) > 0 and min(operations("create images")) > 0

    # Everything that was scheduled has ended, and so have its bytes.
    http.checkpoint_and_upload(tenant, timeline, lsn)
    client = "pageserver_remote_timeline_client"

    def drained() -> None:
        for what in ("calls", "bytes"):
            started = value(f"{client}_{what}_started", op_kind="upload", **ids)
            assert started == value(f"{client}_{what}_finished", op_kind="upload", **ids) > 0

    wait_until(drained)
    # At least what the layers take that are there now.
    layers = http.layer_map(tenant, timeline)["historic_layers"]
    stored = sum(layer["layer_file_size"] for layer in layers)
    assert value(f"{client}_bytes_finished", file_kind="layer", op_kind="upload", **ids) >= stored
    operation = "pageserver_remote_operation_seconds_count"
    assert value(operation, file_kind="layer", op_kind="upload", status="success") >= len(layers)
    assert value(operation, file_kind="index", op_kind="upload", status="success") > 0

    # A start from remote storage alone reads layers, one download each.
    for layer in layers:
        http.call("DELETE", f"/v1/tenant/{tenant}/timeline/{timeline}/layer/{layer['layer_file_name']}")
    env.pageserver.stop()
    env.pageserver.start()
    assert value("pageserver_storage_operations_seconds_count", operation="load layer map", **ids) == 1
    assert env.endpoint("again").value("SELECT count(*) FROM t") == 5000

    def downloads_counted() -> None:
        downloads = value(f"{client}_calls_finished", file_kind="layer", op_kind="download", **ids)
        assert downloads == value("pageserver_remote_ondemand_downloaded_layers") > 0

    wait_until(downloads_counted)
    for kind in ("Singular", "Vectored"):
        assert value("pageserver_getpage_get_reconstruct_data_seconds_count", get_kind=kind) > 0
        assert value("pageserver_getpage_reconstruct_seconds_count", get_kind=kind) > 0
    assert value("pageserver_layers_visited_per_read_global_count") > 0
    assert value("pageserver_layers_visited_per_vectored_read_global_count") > 0
    # Nothing had to be computed: the size is in the index.
    assert value("pageserver_initial_logical_size_start_calculation") == 0

    # The series of a timeline go away with it.
    for running in env.endpoints:
        running.stop()
    http.timeline_delete(tenant, timeline)
    http.wait_for_timeline_to_be_gone(tenant, timeline)

    def forgotten() -> None:
        assert [line for line in http.call("GET", "/metrics").splitlines() if timeline in line] == []

    wait_until(forgotten)
