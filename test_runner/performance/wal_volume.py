"""Prints how much WAL a stock server writes with and without full page images, for the same work.

Endpoints run without them: their data directory is disposable, so that a torn page cannot hurt.
Volumes do not depend on the speed of the machine: a checkpoint is made after every round of a
fixed number of transactions.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from fixtures.common import Lsn, PortDistributor, give_to_postgres_account
from fixtures.pg import PgBin, VanillaPostgres

ROUNDS = 4
TRANSACTIONS = 10_000
CLIENTS = 4
UPDATE = r"""
\set id random(1, 200000)
UPDATE wide SET n = n + 1 WHERE id = :id;
"""


def position(server: VanillaPostgres) -> Lsn:
    return Lsn(server.sql("SELECT pg_current_wal_insert_lsn()")[0][0])


def volume(server: VanillaPostgres, *options: str) -> int:
    begin = position(server)
    for _ in range(ROUNDS):
        server.pg_bin.run(
            "pgbench", "-n", "-c", CLIENTS, "-j", 2, "-t", TRANSACTIONS // CLIENTS, *options,
            server.connstr(), timeout_s=600,
        )
        server.sql("CHECKPOINT")
    return position(server) - begin


def measure(server: VanillaPostgres, script: Path) -> dict[str, int]:
    server.pg_bin.run("pgbench", "-i", "-s", "20", "-q", server.connstr(), timeout_s=600)
    server.sql(
        "CREATE TABLE wide (id int PRIMARY KEY, n int, filler text) WITH (fillfactor = 90)",
        "INSERT INTO wide SELECT g, 0, repeat('x', 300) FROM generate_series(1, 200000) g",
        "VACUUM (ANALYZE)",
        "CHECKPOINT",
    )
    return {
        "pgbench, scale 20": volume(server),
        "updates of random rows": volume(server, "-f", str(script)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    output: Path = parser.parse_args().output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    output.chmod(0o755)
    give_to_postgres_account(output)
    script = output / "update.sql"
    script.write_text(UPDATE)
    pg_bin, ports = PgBin(Path(os.environ["POSTGRES_DISTRIB_DIR"]), 15), PortDistributor()
    volumes = {}
    for setting in ("on", "off"):
        server = VanillaPostgres(pg_bin, output / setting, ports).init()
        server.configure(
            f"full_page_writes = {setting}", "fsync = off", "autovacuum = off",
            "max_wal_size = 20GB", "shared_buffers = 512MB", "listen_addresses = '127.0.0.1'",
        )
        server.start()
        volumes[setting] = measure(server, script)
        server.stop("immediate")
    transactions = ROUNDS * TRANSACTIONS
    print(f"WAL of {transactions} transactions, a checkpoint after every {TRANSACTIONS}")
    print(f"{'workload':<26} {'images on':>12} {'images off':>12} {'saved':>7}")
    for name, with_images in volumes["on"].items():
        without = volumes["off"][name]
        saved = 1 - without / with_images
        print(f"{name:<26} {with_images / 2**20:>8.1f} MiB {without / 2**20:>8.1f} MiB {saved:>7.0%}")
    shutil.rmtree(output, ignore_errors=True)


if __name__ == "__main__":
    main()
