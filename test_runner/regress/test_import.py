"""A stock cluster becomes a timeline: pg_basebackup's archives, imported."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import threading
from pathlib import Path

import pytest
from fixtures.checks import amcheck, check_page_headers
from fixtures.common import Lsn, give_to_postgres_account, new_id, wait_until
from fixtures.neon_fixtures import NeonEnv, dump_database, table_digests
from fixtures.pageserver_http import ApiException
from fixtures.pg import VanillaPostgres


class Backup:
    """The archives of one backup, and the LSNs between which it is."""

    def __init__(self, server: VanillaPostgres, directory: Path):
        directory.mkdir()
        give_to_postgres_account(directory)
        server.pg_bin.run(
            "pg_basebackup", "-h", "127.0.0.1", "-p", server.port, "-U", server.user,
            "-D", directory, "-Ft", "-X", "stream", "-c", "fast", "--no-sync",
        )
        self.base, self.wal = directory / "base.tar", directory / "pg_wal.tar"
        (described,) = json.loads((directory / "backup_manifest").read_text())["WAL-Ranges"]
        self.start_lsn, self.end_lsn = described["Start-LSN"], described["End-LSN"]

    def import_as(self, env: NeonEnv, branch: str, timeline_id: str | None = None, base: Path | None = None) -> str:
        timeline_id = timeline_id or new_id()
        env.cli.raw(
            "timeline", "import", "--timeline-id", timeline_id, "--branch-name", branch,
            "--base-tarfile", base or self.base, "--base-lsn", self.start_lsn,
            "--wal-tarfile", self.wal, "--end-lsn", self.end_lsn, "--pg-version", env.pg_version,
        )
        return timeline_id


@pytest.fixture
def stock(vanilla_pg: VanillaPostgres) -> VanillaPostgres:
    vanilla_pg.init("--data-checksums")
    vanilla_pg.configure("max_wal_senders = 10", "wal_level = replica", "fsync = off")
    return vanilla_pg.start()


def test_a_running_stock_cluster_is_imported(
    neon_env: NeonEnv, stock: VanillaPostgres, test_output_dir: Path
) -> None:
    env = neon_env
    stock.sql("CREATE TABLE before AS SELECT n, md5(n::text) AS t FROM generate_series(1, 50000) n")
    stock.sql("CREATE INDEX ON before (t)")
    stock.sql("CREATE TABLE busy (n int PRIMARY KEY, t text)")
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            stock.sql(f"INSERT INTO busy VALUES ({n}, repeat('x', {n % 500}))")
            stock.sql(f"UPDATE before SET t = md5(t) WHERE n % 1000 = {n % 1000}")

    # The backup's pages are those of many moments.
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    backup = Backup(stock, test_output_dir / "backup")
    stop.set()
    writer.join()
    stock.sql("CREATE TABLE after_the_backup (n int)")

    timeline = backup.import_as(env, "imported")
    detail = env.pageserver.http().timeline_detail(env.initial_tenant, timeline)
    assert detail["state"] == "Active"
    endpoint = env.endpoint(branch="imported")
    endpoint_tables = set(table_digests(endpoint))
    assert "public.after_the_backup" not in endpoint_tables
    assert endpoint.value("SELECT count(*) FROM before") == 50000
    inserted, highest = endpoint.sql("SELECT count(*), max(n) FROM busy")[0]
    assert inserted == highest > 0, "what was committed in the backup is there, and in order"
    assert endpoint.value("SHOW data_checksums") == "on"
    amcheck(env, endpoint)
    check_page_headers(endpoint)
    # It goes on as any timeline.
    endpoint.sql("INSERT INTO busy SELECT n, 'new' FROM generate_series(1000000, 1010000) n")
    digests = table_digests(endpoint)
    lsn = endpoint.flush_lsn()
    endpoint.stop()
    env.pageserver.http().checkpoint_and_upload(env.initial_tenant, timeline, lsn)
    endpoint.start()
    assert table_digests(endpoint) == digests


def test_an_idle_stock_cluster_is_imported_to_the_last_row(
    neon_env: NeonEnv, stock: VanillaPostgres, test_output_dir: Path
) -> None:
    env = neon_env
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", stock.connstr())
    stock.sql("CREATE SEQUENCE s; SELECT nextval('s')")
    stock.sql("CREATE DATABASE other TEMPLATE template0")
    stock.sql("CREATE TABLE t AS SELECT 1 AS n", dbname="other")
    digests, dump = table_digests(stock), dump_database(env, stock)
    backup = Backup(stock, test_output_dir / "backup")
    stock.stop()
    timeline = backup.import_as(env, "imported")
    endpoint = env.endpoint(branch="imported")
    assert table_digests(endpoint) == digests
    assert dump_database(env, endpoint) == dump
    assert endpoint.value("SELECT n FROM t", dbname="other") == 1
    endpoint.stop()

    # The same from the store alone, and branched.
    env.pageserver.kill()
    env.pageserver.start()
    env.cli.timeline_branch("child", ancestor="imported")
    assert table_digests(env.endpoint(branch="child")) == digests
    assert timeline in dict(env.cli.timeline_list()).values()


@pytest.mark.parametrize("pg_version", [16, 17, 18])
def test_a_stopped_stock_cluster_of_any_major_is_imported(
    neon_env: NeonEnv, stock: VanillaPostgres, test_output_dir: Path, pg_version: int
) -> None:
    env = neon_env
    stock.sql("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 20000) n")
    digests = table_digests(stock)
    stock.stop()
    (redo,) = struct.unpack_from("<Q", (stock.pgdata / "global" / "pg_control").read_bytes(), 40)
    start_lsn = Lsn(redo)

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        # As pg_basebackup does.
        left_out = ("pg_internal.init", "postmaster.pid")
        return None if entry.name.rsplit("/", 1)[-1] in left_out else entry

    base, wal = test_output_dir / "base.tar", test_output_dir / "wal.tar"
    with tarfile.open(base, "w") as archive:
        archive.add(stock.pgdata, ".", filter=wanted)
    with tarfile.open(wal, "w") as archive:
        segment = start_lsn.segment_name()
        archive.add(stock.pgdata / "pg_wal" / segment, segment)
    env.cli.raw(
        "timeline", "import", "--branch-name", "imported", "--pg-version", pg_version,
        "--base-tarfile", base, "--base-lsn", start_lsn, "--wal-tarfile", wal, "--end-lsn", start_lsn + 8,
    )
    endpoint = env.endpoint(branch="imported")
    assert table_digests(endpoint) == digests
    endpoint.sql("INSERT INTO t VALUES (-1, 'new')")
    endpoint.stop()
    assert endpoint.start().value("SELECT count(*) FROM t") == 20001


def test_tablespaces_of_a_stock_cluster_are_imported(
    neon_env: NeonEnv, stock: VanillaPostgres, test_output_dir: Path
) -> None:
    env = neon_env
    for name in ("filled", "empty"):
        location = test_output_dir / name
        location.mkdir()
        give_to_postgres_account(location)
        stock.sql(f"CREATE TABLESPACE {name} LOCATION '{location}'")
    stock.sql(
        "CREATE TABLE t (n, t) TABLESPACE filled AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n"
    )
    stock.sql("CREATE DATABASE home TABLESPACE filled")
    stock.sql("CREATE TABLE t AS SELECT 7 AS n", dbname="home")
    digests = {name: table_digests(stock, name) for name in ("postgres", "home")}
    backup = Backup(stock, test_output_dir / "backup")
    stock.stop()

    _, empty = sorted(backup.base.parent.glob("1*.tar"))
    content = empty.read_bytes()
    empty.unlink()
    with pytest.raises(RuntimeError, match=f"put {empty.name} beside the base archive"):
        backup.import_as(env, "imported")
    empty.write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError, match=f"cannot read the archive of tablespace {empty.stem}"):
        backup.import_as(env, "imported")
    empty.write_bytes(content)
    backup.import_as(env, "imported")
    endpoint = env.endpoint(branch="imported")
    assert {name: table_digests(endpoint, name) for name in digests} == digests
    amcheck(env, endpoint)
    endpoint.sql("CREATE TABLE new TABLESPACE empty AS SELECT 1 AS n")
    endpoint.stop()
    assert endpoint.start().value("SELECT n FROM new") == 1


def test_a_broken_backup_leaves_nothing_and_can_be_repeated(
    neon_env: NeonEnv, stock: VanillaPostgres, test_output_dir: Path
) -> None:
    env = neon_env
    stock.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    backup = Backup(stock, test_output_dir / "backup")
    stock.stop()
    whole, timeline = backup.base.read_bytes(), new_id()

    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    broken = {
        "empty": empty.getvalue(),
        "truncated": whole[: len(whole) // 2],
        "without-end": whole.rstrip(b"\0"),
        "garbage": whole + b"garbage" * 1000,
        "nothing": b"",
    }
    for name, content in broken.items():
        path = test_output_dir / f"{name}.tar"
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match="error importing base backup"):
            backup.import_as(env, "imported", timeline, base=path)
        assert env.pageserver.log_contains("error importing base backup between")
        with pytest.raises(ApiException) as missing:
            env.pageserver.http().timeline_detail(env.initial_tenant, timeline)
        assert missing.value.status_code == 404
        assert not env.pageserver.timeline_dir(env.initial_tenant, timeline).exists()
    backup.import_as(env, "imported", timeline)
    assert env.endpoint(branch="imported").value("SELECT count(*) FROM t") == 1000
    with pytest.raises(RuntimeError, match="error importing base backup"):
        backup.import_as(env, "again", timeline)


def test_a_preserved_initial_database_outlives_its_timeline(neon_env: NeonEnv) -> None:
    env, http = neon_env, neon_env.pageserver.http()
    tenant, first = env.initial_tenant, env.initial_timeline
    with pytest.raises(ApiException) as missing:
        http.timeline_preserve_initdb_archive(tenant, new_id())
    assert missing.value.status_code == 404
    http.timeline_preserve_initdb_archive(tenant, first)
    http.timeline_delete(tenant, first)

    def gone() -> None:
        assert [key for key in env.store.keys() if first in key] == [
            f"tenants/{tenant}/timelines/{first}/initdb-preserved.tar.zst"
        ]

    wait_until(gone)
    again = http.timeline_create(
        tenant, new_id(), existing_initdb_timeline_id=first, pg_version=env.pg_version
    )
    assert again["state"] == "Active"
