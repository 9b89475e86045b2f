"""Prints, from one run on one machine, how the storage compares with stock PostgreSQL.

(a) an endpoint with three safekeepers that fsync, (b) a stock server with one synchronous
standby, (c) a stock server alone. Points are interleaved, so that a slow minute of the machine
hits all three; quote the ratios.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from fixtures.common import (
    Lsn,
    PortDistributor,
    give_to_postgres_account,
    new_id,
    wait_until,
)
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder
from fixtures.pg import Connectable, PgBin, VanillaPostgres

CLIENTS = (1, 4, 16)
SHARED = ["shared_buffers=256MB", "max_connections=100", "max_wal_size=4GB", "synchronous_commit=on"]


@dataclass
class Point:
    tps: float
    latency_ms: float


def pgbench(env: NeonEnv, server: Connectable, clients: int, seconds: int) -> Point:
    printed = env.pg_bin.run(
        "pgbench", "-n", "-c", clients, "-j", min(clients, 2), "-T", seconds, server.connstr(),
        timeout_s=seconds + 60,
    )
    tps = re.search(r"tps = ([0-9.]+)", printed)
    latency = re.search(r"latency average = ([0-9.]+)", printed)
    assert tps and latency, printed
    return Point(float(tps.group(1)), float(latency.group(1)))


def stock_pair(env: NeonEnv, output: Path) -> tuple[VanillaPostgres, VanillaPostgres]:
    """A primary that waits for its one standby, and that standby."""
    ports = env.builder.ports
    primary = VanillaPostgres(env.pg_bin, output / "primary", ports).init()
    primary.configure(*SHARED, "max_wal_senders=5", "listen_addresses='127.0.0.1'")
    primary.start()
    standby = VanillaPostgres(env.pg_bin, output / "standby", ports)
    env.pg_bin.run("pg_basebackup", "-d", primary.connstr(), "-D", standby.pgdata, "-c", "fast")
    for path in [standby.pgdata, *standby.pgdata.rglob("*")]:
        give_to_postgres_account(path)
    conninfo = f"host=127.0.0.1 port={primary.port} user=cloud_admin application_name=standby"
    standby.configure(f"primary_conninfo = '{conninfo}'")
    (standby.pgdata / "standby.signal").touch()
    standby.start()
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
    return primary, standby


def commit_path(env: NeonEnv, output: Path, seconds: int) -> None:
    ours = env.endpoint("bench", config=["shared_buffers=256MB", "max_connections=100"])
    pair, standby = stock_pair(env, output)
    alone = VanillaPostgres(env.pg_bin, output / "alone", env.builder.ports).init()
    alone.configure(*SHARED)
    alone.start()
    servers: dict[str, Connectable] = {"ours": ours, "synchronous pair": pair, "alone": alone}
    for server in servers.values():
        env.pg_bin.run("pgbench", "-i", "-s", "10", "-q", server.connstr(), timeout_s=300)
    print(f"\npgbench, scale 10, {seconds} s a point; fsync on wherever data must survive")
    print(f"{'clients':>8} {'server':<18} {'TPS':>9} {'latency ms':>11} {'TPS vs pair':>12}")
    for clients in CLIENTS:
        rounds: dict[str, list[Point]] = {name: [] for name in servers}
        for _ in range(2):
            for name, server in servers.items():
                rounds[name].append(pgbench(env, server, clients, seconds))
        best = {name: max(points, key=lambda p: p.tps) for name, points in rounds.items()}
        for name, point in best.items():
            ratio = point.tps / best["synchronous pair"].tps
            print(f"{clients:>8} {name:<18} {point.tps:>9.0f} {point.latency_ms:>11.2f} {ratio:>12.2f}")
    ours.stop()
    alone.stop()
    pair.stop("immediate")
    standby.stop("immediate")


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
    logging.basicConfig(level=logging.WARNING)
    shutil.rmtree(arguments.output, ignore_errors=True)
    arguments.output.mkdir(parents=True)
    arguments.output.chmod(0o755)
    distrib = Path(os.environ["POSTGRES_DISTRIB_DIR"])
    builder = NeonEnvBuilder(
        arguments.output, Path(os.environ["NEON_BIN"]), distrib, PgBin(distrib, 15),
        PortDistributor(), safekeepers_fsync=True,
    )
    give_to_postgres_account(arguments.output)
    try:
        env = builder.init_start()
        commit_path(env, arguments.output, arguments.seconds)
        start_and_branch(env)
        ingest(env)
    finally:
        builder.cleanup(keep_data=False)


if __name__ == "__main__":
    main()
