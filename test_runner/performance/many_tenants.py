"""Prints what idle tenants cost a pageserver: time until all are active, and memory of each.

One tenant is made; its newest page images are copied under as many other ids as asked for, with
the id in each file's summary changed, so that every tenant is whole and can be read. The
pageserver then starts on them, as after a restart.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmark_env import benchmark_env
from fixtures.common import new_id, wait_until
from fixtures.neon_fixtures import NeonEnv
from fixtures.tenant_copies import rename_layer

LOCATION = """[mode.Attached]
generation = 1
attach_mode = "Single"

[tenant_conf]
"""


class Template:
    """The tenant that is copied."""

    def __init__(self, env: NeonEnv):
        http = env.pageserver.http()
        path = f"/v1/tenant/{env.initial_tenant}/timeline/{env.initial_timeline}/checkpoint"
        flags = {"force_image_layer_creation": "true", "wait_until_uploaded": "true"}
        http.call("PUT", path, params=flags)
        end = http.last_record_lsn(env.initial_tenant, env.initial_timeline)
        http.wait_for_upload(env.initial_tenant, env.initial_timeline, end)
        self.timeline = env.initial_timeline
        self.directory = env.remote_dir / "tenants" / env.initial_tenant / "timelines" / self.timeline
        newest = max(self.directory.glob("index_part.json-*"))
        self.index: dict[str, Any] = json.loads(newest.read_text())
        images = {name: m for name, m in self.index["layer_metadata"].items() if name.count("-") == 1}
        lsn = max(name.split("__")[1] for name in images)
        self.layers = {name: m for name, m in images.items() if name.endswith(lsn)}
        self.index["layer_metadata"] = {
            name: {**metadata, "generation": 1} for name, metadata in self.layers.items()
        }
        self.contents = {
            name: (self.directory / f"{name}-{metadata['generation']:08x}").read_bytes()
            for name, metadata in self.layers.items()
        }

    def copy_to(self, env: NeonEnv, tenant: str) -> None:
        remote = env.remote_dir / "tenants" / tenant / "timelines" / self.timeline
        local = env.pageserver.timeline_dir(tenant, self.timeline)
        remote.mkdir(parents=True)
        local.mkdir(parents=True)
        (remote / "index_part.json-00000001").write_text(json.dumps(self.index))
        (env.pageserver.tenant_dir(tenant) / "config-v1").write_text(LOCATION)
        for name, content in self.contents.items():
            stored = remote / f"{name}-00000001"
            stored.write_bytes(rename_layer(content, tenant))
            os.link(stored, local / f"{name}-v1-00000001")


def resident_kb(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found.group(1))


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timestamps(log_file: Path, text: str) -> list[datetime]:
    found = []
    for line in log_file.read_text(errors="replace").splitlines():
        if text in line:
            found.append(datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")))
    return found


def settled_memory_kb(env: NeonEnv, tenants: int) -> int:
    """Memory once nothing happens any more."""
    http = env.pageserver.http()

    def warm() -> None:
        assert http.metric_samples("pageserver_tenant_startup_complete") == [tenants]

    wait_until(warm, timeout_s=600, interval_s=1)
    time.sleep(5)
    return resident_kb(env.pageserver.pid)


def start(env: NeonEnv, tenants: int) -> tuple[float, int]:
    """Starts on what is on disk. Milliseconds until the last tenant is active, and memory."""
    env.pageserver.log_file.unlink(missing_ok=True)
    env.pageserver.start_alone()

    def active() -> list[datetime]:
        found = timestamps(env.pageserver.log_file, "activation attempt finished")
        assert len(found) >= tenants, f"{len(found)} of {tenants} are active"
        return found

    ends = wait_until(active, timeout_s=600, interval_s=0.5)
    begin = timestamps(env.pageserver.log_file, "version: ")[0]
    elapsed_ms = (max(ends) - begin).total_seconds() * 1000 if ends else 0.0
    return elapsed_ms, settled_memory_kb(env, tenants)


def cold_start(env: NeonEnv, template: Template) -> None:
    """From a request to attach, with nothing on the local disk, to the first answer about it."""
    http, spans = env.pageserver.http(), []
    for _ in range(20):
        tenant = new_id()
        template.copy_to(env, tenant)
        shutil.rmtree(env.pageserver.tenant_dir(tenant))
        body = {"mode": "AttachedSingle", "generation": 2, "tenant_conf": {}}
        begin = time.monotonic()
        http.location_config(tenant, body)
        http.timeline_detail(tenant, template.timeline)
        spans.append((time.monotonic() - begin) * 1000)
    print(f"cold start of a tenant: median {statistics.median(spans):.1f} ms of {len(spans)}")


def download_throughput(env: NeonEnv) -> None:
    http = env.pageserver.http()
    tenant = env.initial_tenant
    body = {"mode": "AttachedSingle", "generation": 1000, "tenant_conf": {}}
    http.location_config(tenant, body)
    path = f"/v1/tenant/{tenant}/timeline/{env.initial_timeline}"
    layers = http.call("GET", f"{path}/layer")["historic_layers"]
    total = sum(layer["layer_file_size"] for layer in layers)
    spans = []
    for _ in range(3):
        for layer in http.call("GET", f"{path}/layer")["historic_layers"]:
            if not layer["remote"]:
                http.call("DELETE", f"{path}/layer/{layer['layer_file_name']}")
        begin = time.monotonic()
        http.call("POST", f"{path}/download_remote_layers", json={"max_concurrent_downloads": 8})

        def completed() -> None:
            assert http.call("GET", f"{path}/download_remote_layers")["state"] == "Completed"

        wait_until(completed, timeout_s=120, interval_s=0.01)
        spans.append(time.monotonic() - begin)
    rate = total / 2**20 / statistics.median(spans)
    print(f"download of {len(layers)} layers, {total / 2**20:.0f} MiB: {rate:.0f} MiB/s (fsynced)")


def measure(env: NeonEnv, tenants: int) -> None:
    # As small as a new tenant is.
    template = Template(env)
    endpoint = env.endpoint("data")
    env.pg_bin.run("pgbench", "-i", "-s", "5", "-q", endpoint.connstr(), timeout_s=300)
    lsn = endpoint.flush_lsn()
    endpoint.stop(destroy=True)
    env.pageserver.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    env.pageserver.stop()
    shutil.rmtree(env.pageserver.workdir / "tenants")
    _, empty_kb = start(env, 0)
    env.pageserver.stop()
    for _ in range(tenants):
        template.copy_to(env, new_id())
    size = sum(len(content) for content in template.contents.values()) / 2**20
    print(f"\n{tenants} idle tenants with {size:.1f} MiB each")
    # At the first start the sizes of their databases are computed; then they are known.
    for what in ("first start", "start after an orderly stop"):
        elapsed_ms, full_kb = start(env, tenants)
        cpu_s = processor_seconds(env.pageserver.pid)
        print(f"{what}: all active after {elapsed_ms:.0f} ms, {cpu_s:.1f} s of processor time")
        print(f"memory: {full_kb / 1024:.0f} MiB, {(full_kb - empty_kb) / max(tenants, 1):.0f} kB each")
        print(f"threads: {len(os.listdir(f'/proc/{env.pageserver.pid}/task'))}")
        env.pageserver.stop()
    env.pageserver.start_alone()
    cold_start(env, template)
    download_throughput(env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tenants", type=int, default=1000)
    arguments = parser.parse_args()
    # A full disk would have layers evicted while they are counted.
    config = {"image_compression": "zstd", "disk_usage_based_eviction": {"enabled": False}}
    with benchmark_env(arguments.output, num_safekeepers=1, pageserver_config=config) as env:
        measure(env, arguments.tenants)


if __name__ == "__main__":
    main()
