"""Clocks of pageservers that are wrong and jump: nothing that is kept depends on them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from fixtures.common import wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, NeonPageserver, table_digests
from fixtures.remote_storage import S3Store, check_that_indexed_objects_exist

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

# Many small layers that are replaced, leave the disk and are named in heatmaps all the time.
BUSY = {
    "checkpoint_distance": 262144,
    "compaction_target_size": 262144,
    "compaction_threshold": 2,
    "compaction_period": "1s",
    "heatmap_period": "1s",
    "eviction_policy": {"kind": "LayerAccessThreshold", "period": "300ms", "threshold": "2s"},
}


class Clock:
    """The time of day of one process; timers of the machine go on as they do."""

    def __init__(self, path: Path):
        self.path = path
        self.shift(timedelta())

    def shift(self, by: timedelta) -> None:
        self.path.write_text(f"{by.total_seconds():+.0f}")

    def env(self) -> dict[str, str]:
        assert FAKETIME is not None, "libfaketime is installed by scripts/setup.sh"
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def last_logged(node: NeonPageserver) -> datetime:
    stamps = (line.split(" ", 1)[0] for line in node.log_file.read_text().splitlines())
    return datetime.fromisoformat([stamp for stamp in stamps if stamp.startswith("20")][-1])


def churn(env: NeonEnv, home: NeonPageserver, ledger: Ledger) -> None:
    """Writes, uploads and compacts until objects were replaced and deleted."""
    before = home.http().deletion_queue()

    def replaced() -> None:
        ledger.wait_for_progress()
        lsn = ledger.server.flush_lsn()
        home.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
        home.http().timeline_compact(env.initial_tenant, env.initial_timeline)
        home.http().deletion_queue_flush(execute=True)
        counts = home.http().deletion_queue()
        assert counts["executed"] > before["executed"], counts
        assert counts["unexpected_errors"] == 0

    wait_until(replaced, timeout_s=60)


def test_jumps_of_the_clock_change_nothing(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    neon_env_builder.store = s3_store
    neon_env_builder.num_pageservers = 2
    env = neon_env_builder.init_start()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    home, other = env.pageservers
    clocks = {}
    for node in (home, other):
        clocks[node.id] = Clock(node.workdir / "clock")
        node.stop()
        node.start_alone(**clocks[node.id].env())

    def place(node: NeonPageserver, mode: str, generation: int | None = None) -> None:
        body = {"mode": mode, "generation": generation, "tenant_conf": BUSY}
        if mode == "Secondary":
            body["secondary_conf"] = {"warm": True}
        node.http().location_config(tenant, body)

    generation = 2
    place(home, "AttachedSingle", generation)
    place(other, "Secondary")
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    checked = 0
    for days in (-2, 400, -4000, 0, 30):
        clocks[home.id].shift(timedelta(days=days))
        clocks[other.id].shift(timedelta(days=-days))
        churn(env, home, ledger)
        checked += check_that_indexed_objects_exist(s3_store)
        home.http().call("POST", f"/v1/tenant/{tenant}/heatmap_upload")
        other.http().call("POST", f"/v1/tenant/{tenant}/secondary/download", params={"wait_ms": 30000})
        assert other.http().call("GET", f"/v1/tenant/{tenant}/secondary/status")["layers_downloaded"] > 0
    assert checked > 50
    shown = last_logged(home) - last_logged(other)
    assert shown > timedelta(days=59), "the clocks are wrong, or this test shows nothing"

    def evicted() -> None:
        layers = home.http().layer_map(tenant, timeline)["historic_layers"]
        assert any(layer["remote"] for layer in layers)

    wait_until(evicted)

    # To and fro, between a clock far ahead and one far behind, each time from what is stored.
    for source, target in ((home, other), (other, home)):
        ledger.wait_for_progress()
        generation += 1
        place(target, "AttachedSingle", generation)
        source.kill()
        source.start_alone(**clocks[source.id].env())
        place(source, "Secondary")
        churn(env, target, ledger)
    ledger.stop()
    digests = table_digests(endpoint)
    ledger.verify()
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    home.http().checkpoint_and_upload(tenant, timeline, lsn)
    assert check_that_indexed_objects_exist(s3_store) > 0
    booted = env.endpoint("after")
    assert table_digests(booted) == digests
    for node in env.pageservers:
        assert not node.log_contains("panicked at")
