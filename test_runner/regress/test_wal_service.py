"""Safekeepers as PostgreSQL's own tools see them."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from fixtures.common import WAL_SEGMENT_SIZE, Lsn, give_to_postgres_account, wait_until
from fixtures.neon_fixtures import Endpoint, NeonEnv, Safekeeper, table_digests
from fixtures.pg import TOOLS, VanillaPostgres


def conninfo(env: NeonEnv, safekeeper: Safekeeper) -> str:
    options = f"-c tenant_id={env.initial_tenant} -c timeline_id={env.initial_timeline}"
    return f"host=127.0.0.1 port={safekeeper.pg_port} user=replica dbname=postgres options='{options}'"


def waldump(directory: Path, start: Lsn, end: Lsn) -> list[str]:
    command = [TOOLS / "pg_waldump", "-p", directory, "-s", start, "-e", end]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_concatenated_wal_passes_pg_waldump_across_restarts(neon_env: NeonEnv, test_output_dir: Path) -> None:
    env = neon_env
    endpoint = env.endpoint(start=False)
    for generation in range(3):
        endpoint.start()
        endpoint.sql(f"CREATE TABLE t{generation} AS SELECT n FROM generate_series(1, 20000) n")
        endpoint.sql("SELECT pg_switch_wal()")
        endpoint.sql("CHECKPOINT")
        endpoint.stop(mode="immediate" if generation == 1 else "fast")
    safekeeper = env.safekeepers[0]
    status = safekeeper.http().timeline_status(env.initial_tenant, env.initial_timeline)
    start, end = Lsn(status["timeline_start_lsn"]), Lsn(status["commit_lsn"])
    directory = test_output_dir / "wal"
    directory.mkdir()
    for name in safekeeper.segments(env.initial_tenant, env.initial_timeline):
        source = safekeeper.timeline_dir(env.initial_tenant, env.initial_timeline) / name
        shutil.copy(source, directory / name.removesuffix(".partial"))
    lines = waldump(directory, start, end)
    boots = [line for line in lines if "CHECKPOINT_SHUTDOWN" in line]
    assert len(boots) >= 3, "each start writes a shutdown checkpoint"
    # Every record names the one before it.
    previous = None
    for line in lines:
        at = line.split("lsn: ")[1].split(",")[0]
        if previous is not None:
            assert f"prev {previous}" in line, line
        previous = at


def test_pg_receivewal_streams(neon_env: NeonEnv, test_output_dir: Path) -> None:
    env = neon_env
    endpoint = env.endpoint()
    directory = test_output_dir / "received"
    directory.mkdir()
    receiver = env.pg_bin.spawn(
        "pg_receivewal", "-D", directory, "-d", conninfo(env, env.safekeepers[0]), "--no-loop", "-v",
        stderr=subprocess.PIPE,
    )
    try:
        endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 30000) n", "SELECT pg_switch_wal()")
        endpoint.sql("INSERT INTO t VALUES (0)")
        lsn = endpoint.flush_lsn()

        def received() -> list[Path]:
            assert receiver.poll() is None, receiver.stderr.read()
            files = sorted(path for path in directory.iterdir() if not path.name.endswith(".partial"))
            assert files
            return files

        files = wait_until(received)
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.wait(timeout=30)
    status = env.safekeepers[0].http().timeline_status(env.initial_tenant, env.initial_timeline)
    # Below its start the timeline has no records, only a page header.
    start = Lsn(status["timeline_start_lsn"])
    end = Lsn(start.segment_start().value + len(files) * WAL_SEGMENT_SIZE)
    lines = waldump(directory, start, end)
    assert "CHECKPOINT_SHUTDOWN" in lines[0], "the first record is the one the endpoint booted from"
    assert any("SWITCH" in line for line in lines)
    assert end <= lsn


def test_a_stock_standby_streams_from_a_safekeeper(neon_env: NeonEnv, test_output_dir: Path) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 1000)")
    standby = VanillaPostgres(env.pg_bin, test_output_dir / "standby", env.builder.ports)
    env.pg_bin.run(
        "pg_basebackup", "-d", endpoint.connstr(), "-D", standby.pgdata, "-X", "none", "--no-sync",
        "-c", "fast",
    )
    for path in [standby.pgdata, *standby.pgdata.rglob("*")]:
        give_to_postgres_account(path)
    standby.configure(
        f"port = {standby.port}", "hot_standby = on", "synchronous_standby_names = ''",
        f"primary_conninfo = '{conninfo(env, env.safekeepers[1]).replace(chr(39), chr(39) * 2)}'",
    )
    (standby.pgdata / "standby.signal").touch()
    try:
        standby.start()
        endpoint.sql("INSERT INTO t SELECT generate_series(1001, 5000)", "CREATE TABLE u AS SELECT 1 AS n")

        def caught_up() -> None:
            assert standby.value("SELECT count(*) FROM t") == 5000
            assert standby.value("SELECT n FROM u") == 1

        wait_until(caught_up, timeout_s=60)
        assert table_digests(standby) == table_digests(endpoint)
    finally:
        standby.stop("immediate")


def test_safekeepers_hold_the_same_bytes(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    lagging = env.safekeepers[2]
    endpoint.sql("CREATE TABLE t (n int)")
    lagging.kill()
    endpoint.sql("INSERT INTO t SELECT generate_series(1, 200000)")
    lagging.start()
    endpoint.sql("INSERT INTO t VALUES (0)")
    endpoint.stop()
    tenant, timeline = env.initial_tenant, env.initial_timeline

    def equal() -> None:
        statuses = [sk.http().timeline_status(tenant, timeline) for sk in env.safekeepers]
        assert len({status["flush_lsn"] for status in statuses}) == 1, statuses

    # With the compute gone only its last feedback can be missing; a new one levels everybody.
    endpoint.start()
    wait_until(equal, timeout_s=60)
    end = Lsn(lagging.http().timeline_status(tenant, timeline)["flush_lsn"])
    endpoint.stop()
    names = [sk.segments(tenant, timeline) for sk in env.safekeepers]
    common = set(names[0]) & set(names[1]) & set(names[2])
    assert common
    for name in sorted(common):
        number = int(name[8:16], 16) * 256 + int(name[16:24], 16)
        limit = min(max(end.value - number * 2**24, 0), 2**24)
        contents = {
            (sk.timeline_dir(tenant, timeline) / name).read_bytes()[:limit] for sk in env.safekeepers
        }
        assert len(contents) == 1, f"segment {name} differs"


def test_log_switches_do_not_outrun_the_stream(neon_env: NeonEnv) -> None:
    """Safekeepers are at the next segment as soon as they have the switch record; PostgreSQL must
    not be told before the rest of the old segment has been read, or it removes it."""
    endpoint = neon_env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    for n in range(8):
        endpoint.sql(f"INSERT INTO t VALUES ({n})", "SELECT pg_switch_wal()", "CHECKPOINT")
    assert "already been removed" not in endpoint.log_file.read_text()
    endpoint.stop()
    assert endpoint.start().value("SELECT count(*) FROM t") == 8


def test_a_second_compute_ends_the_first(neon_env: NeonEnv) -> None:
    env = neon_env
    first = env.endpoint("first")
    first.sql("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    env.cli.raw(
        "endpoint", "create", "second", "--branch-name", "main", "--pg-version", env.pg_version,
        "--pg-port", env.builder.ports.get_port(), "--http-port", env.builder.ports.get_port(),
        "--allow-multiple",
    )
    second = Endpoint(env, "second", env.initial_tenant, env.initial_timeline)
    env.endpoints.append(second)
    env.cli.raw("endpoint", "start", "second", "--allow-multiple")
    assert second.value("SELECT n FROM t") == 1
    second.sql("INSERT INTO t VALUES (2)")

    def ended() -> None:
        assert not first.processes()

    wait_until(ended, timeout_s=60)
    assert "term" in first.log_file.read_text()
