"""Prints what a transaction of pgbench costs each daemon: processor time and context switches.

Unlike a rate this hardly depends on what else the machine does. An --output on a file system in
memory leaves out the disk, and with it what the kernel does for it.
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from benchmark_env import benchmark_env
from fixtures.neon_fixtures import Endpoint, NeonEnv

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """What processes have used since they were started."""

    user_s: float = 0.0
    system_s: float = 0.0
    switches: int = 0

    def add(self, pid: int) -> None:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        self.user_s += int(fields[11]) / TICKS_PER_SECOND
        self.system_s += int(fields[12]) / TICKS_PER_SECOND
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            counts = re.findall(r"ctxt_switches:\s+(\d+)", status.read_text())
            self.switches += sum(map(int, counts))


def costs(env: NeonEnv, endpoint: Endpoint) -> dict[str, Cost]:
    processes = {
        "compute_ctl": [int((endpoint.dir / "compute_ctl.pid").read_text())],
        "safekeepers": [safekeeper.pid for safekeeper in env.safekeepers],
        "pageserver": [env.pageserver.pid],
        "broker": [env.broker.pid],
    }
    found = {}
    for name, pids in processes.items():
        found[name] = Cost()
        for pid in pids:
            found[name].add(pid)
    return found


def measure(env: NeonEnv, endpoint: Endpoint, clients: int, seconds: int) -> None:
    before = costs(env, endpoint)
    printed = env.pg_bin.run(
        "pgbench", "-n", "-c", clients, "-j", min(clients, 2), "-T", seconds, endpoint.connstr(),
        timeout_s=seconds + 60,
    )
    after = costs(env, endpoint)
    processed = re.search(r"actually processed: (\d+)", printed)
    assert processed, printed
    transactions = int(processed.group(1))
    print(f"\n{clients} clients, {transactions / seconds:.0f} TPS", flush=True)
    print(f"{'':<12} {'user us':>8} {'system us':>10} {'switches':>9}")
    for name, cost in after.items():
        user, system = cost.user_s - before[name].user_s, cost.system_s - before[name].system_s
        switches = (cost.switches - before[name].switches) / transactions
        print(
            f"{name:<12} {user / transactions * 1e6:>8.0f} {system / transactions * 1e6:>10.0f}"
            f" {switches:>9.2f}", flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    arguments = parser.parse_args()
    with benchmark_env(arguments.output, safekeepers_fsync=True) as env:
        endpoint = env.endpoint("cost", config=["shared_buffers=128MB", "max_connections=100"])
        env.pg_bin.run("pgbench", "-i", "-s", "10", "-q", endpoint.connstr(), timeout_s=300)
        endpoint.sql("CHECKPOINT")
        for clients in arguments.clients:
            measure(env, endpoint, clients, arguments.seconds)


if __name__ == "__main__":
    main()
