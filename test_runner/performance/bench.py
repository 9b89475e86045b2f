"""Prints, from one run on one machine, how the storage compares with stock PostgreSQL.

"ours" is an endpoint with three safekeepers that fsync; "sync pair" a stock server with one
synchronous standby; "quorum of 3" a stock server that waits for any two of three standbys, which
is what our quorum promises; "alone" a stock server by itself. Points are interleaved, so that a
slow minute of the machine hits all of them; quote the ratios.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark_env import benchmark_env
from fixtures.common import Lsn, give_to_postgres_account, new_id, wait_until
from fixtures.neon_fixtures import NeonEnv
from fixtures.pg import Connectable, VanillaPostgres

CLIENTS = (1, 4, 8, 16, 32)
ROUNDS = 2
SHARED = ["shared_buffers=128MB", "max_connections=100", "max_wal_size=4GB", "synchronous_commit=on"]
BASELINES = ("sync pair", "quorum of 3")


@dataclass
class Point:
    tps: float
    p50_ms: float
    p99_ms: float


def percentile(ordered: list[int], share: float) -> float:
    """Of latencies in microseconds, in milliseconds."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000


def pgbench(env: NeonEnv, server: Connectable, clients: int, seconds: int, output: Path) -> Point:
    """One run; latencies come from its log of every transaction."""
    log_prefix = output / "transactions"
    printed = env.pg_bin.run(
        "pgbench", "-n", "-c", clients, "-j", min(clients, 2), "-T", seconds,
        "-l", f"--log-prefix={log_prefix}", server.connstr(), timeout_s=seconds + 60,
    )
    tps = re.search(r"tps = ([0-9.]+)", printed)
    assert tps, printed
    latencies = []
    for log in output.glob("transactions*"):
        latencies += [int(line.split()[2]) for line in log.read_text().splitlines()]
        log.unlink()
    latencies.sort()
    return Point(float(tps.group(1)), percentile(latencies, 0.5), percentile(latencies, 0.99))


def stock_primary(
    env: NeonEnv, output: Path, name: str, standbys: int, synchronous: str
) -> list[VanillaPostgres]:
    """A primary and the standbys that it waits for."""
    ports = env.builder.ports
    primary = VanillaPostgres(env.pg_bin, output / name, ports).init()
    primary.configure(*SHARED, "max_wal_senders=10", "listen_addresses='127.0.0.1'")
    primary.start()
    servers = [primary]
    for number in range(1, standbys + 1):
        standby = VanillaPostgres(env.pg_bin, output / f"{name}-standby-{number}", ports)
        env.pg_bin.run("pg_basebackup", "-d", primary.connstr(), "-D", standby.pgdata, "-c", "fast")
        for path in [standby.pgdata, *standby.pgdata.rglob("*")]:
            give_to_postgres_account(path)
        conninfo = (
            f"host=127.0.0.1 port={primary.port} user=cloud_admin application_name=standby{number}"
        )
        standby.configure(f"primary_conninfo = '{conninfo}'")
        (standby.pgdata / "standby.signal").touch()
        servers.append(standby.start())
    if synchronous:
        primary.sql(
            f"ALTER SYSTEM SET synchronous_standby_names = '{synchronous}'", "SELECT pg_reload_conf()"
        )
    return servers


def commit_path(env: NeonEnv, output: Path, seconds: int) -> None:
    ours = env.endpoint("bench", config=["shared_buffers=128MB", "max_connections=100"])
    pair = stock_primary(env, output, "pair", 1, "standby1")
    trio = stock_primary(env, output, "quorum", 3, "ANY 2 (standby1, standby2, standby3)")
    alone = stock_primary(env, output, "alone", 0, "")
    servers: dict[str, Connectable] = {
        "ours": ours, "sync pair": pair[0], "quorum of 3": trio[0], "alone": alone[0],
    }
    for server in servers.values():
        env.pg_bin.run("pgbench", "-i", "-s", "10", "-q", server.connstr(), timeout_s=300)
        server.sql("CHECKPOINT")
    print(f"\npgbench, scale 10, best of {ROUNDS} x {seconds} s; fsync on wherever data must survive")
    columns = "".join(f"{'vs ' + name:>15}" for name in BASELINES)
    print(f"{'clients':>8} {'server':<12} {'TPS':>7} {'p50 ms':>8} {'p99 ms':>8}{columns}")
    for clients in CLIENTS:
        rounds: dict[str, list[Point]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                rounds[name].append(pgbench(env, server, clients, seconds, output))
        best = {name: max(points, key=lambda p: p.tps) for name, points in rounds.items()}
        for name, point in best.items():
            ratios = "".join(f"{point.tps / best[other].tps:>15.2f}" for other in BASELINES)
            print(
                f"{clients:>8} {name:<12} {point.tps:>7.0f} {point.p50_ms:>8.2f} {point.p99_ms:>8.2f}"
                f"{ratios}", flush=True,
            )
    ours.stop()
    for server in [*alone, *pair, *trio]:
        server.stop("immediate")


def start_and_branch(env: NeonEnv) -> None:
    endpoint = next(e for e in env.endpoints if e.id == "bench")
    starts = []
    for _ in range(5):
        begin = time.monotonic()
        endpoint.start()
        starts.append((time.monotonic() - begin) * 1000)
        endpoint.stop()
    http, branches = env.pageserver.http(), []
    for _ in range(20):
        begin = time.monotonic()
        http.timeline_create(
            env.initial_tenant, new_id(), ancestor_timeline_id=env.initial_timeline, pg_version=15
        )
        branches.append((time.monotonic() - begin) * 1000)
    size = http.timeline_detail(env.initial_tenant, env.initial_timeline)["current_logical_size"]
    print(f"\nendpoint start ({size / 2**20:.0f} MiB copied): median {statistics.median(starts):.0f} ms of {len(starts)}")
    print(f"branch creation: median {statistics.median(branches):.1f} ms, max {max(branches):.1f} ms of {len(branches)}")


def ingest(env: NeonEnv) -> None:
    """How fast the pageserver takes WAL that waits on the safekeepers."""
    endpoint = env.endpoint("ingest", start=True)
    endpoint.sql("CREATE TABLE big (n bigint, filler text)")
    env.pageserver.http().wait_for_last_record_lsn(
        env.initial_tenant, env.initial_timeline, endpoint.flush_lsn()
    )
    env.pageserver.stop()
    begin_lsn = endpoint.flush_lsn()
    for size in (100, 8000):
        rows = 1_500_000 if size == 100 else 20_000
        endpoint.sql(f"INSERT INTO big SELECT n, repeat('x', {size}) FROM generate_series(1, {rows}) n")
    end_lsn = endpoint.flush_lsn()
    env.pageserver.start()
    http = env.pageserver.http()
    samples: list[tuple[float, Lsn]] = []

    def caught_up() -> None:
        samples.append((time.monotonic(), http.last_record_lsn(env.initial_tenant, env.initial_timeline)))
        assert samples[-1][1] >= end_lsn

    wait_until(caught_up, timeout_s=300, interval_s=0.05)
    moving = [sample for sample in samples if sample[1] > begin_lsn]
    elapsed = max(moving[-1][0] - moving[0][0], 0.05)
    volume = (moving[-1][1] - moving[0][1]) / 2**20
    print(f"\npageserver WAL ingest: {volume / elapsed:.0f} MiB/s ({volume:.0f} MiB in {elapsed:.1f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    with benchmark_env(arguments.output, safekeepers_fsync=True) as env:
        commit_path(env, arguments.output, arguments.seconds)
        start_and_branch(env)
        ingest(env)


if __name__ == "__main__":
    main()
