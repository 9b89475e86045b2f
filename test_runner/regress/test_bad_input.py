"""Garbage gets a clear error, and the daemon goes on serving others."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

import psycopg
import pytest
import requests
from fixtures.common import new_id, wait_until
from fixtures.neon_fixtures import NeonEnv
from fixtures.pageserver_http import ApiException

GARBAGE = [
    b"",
    b"\x00" * 64,
    b"\xff" * 4096,
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/tenant HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    struct.pack(">II", 8, 196608),
    struct.pack(">II", 0x7FFFFFFF, 196608),
    struct.pack(">II", 16, 80877102) + b"\x00" * 8,
    struct.pack(">II", 40, 196608) + b"no terminator at all" + b"x" * 12,
]


def throw(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(2)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass


def test_garbage_on_every_port(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    safekeeper = env.safekeepers[0]
    ports = [
        env.pageserver.pg_port, env.pageserver.http_port, safekeeper.pg_port, safekeeper.http_port,
        env.broker_port, endpoint.http_port,
    ]
    for port in ports:
        for data in [*GARBAGE, os.urandom(10_000)]:
            throw(port, data)
    endpoint.sql("INSERT INTO t VALUES (1)")
    pids = [env.pageserver.pid, safekeeper.pid, env.broker.pid]
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert requests.get(f"http://127.0.0.1:{env.broker_port}/status", timeout=10).ok
    assert env.pageserver.http().status()["id"] == 1
    endpoint.stop()
    assert endpoint.start().value("SELECT n FROM t") == 1


def expect(status: int, text: str, call: Callable[[], object]) -> None:
    with pytest.raises(ApiException, match=text) as refused:
        call()
    assert refused.value.status_code == status, refused.value


def test_wrong_ids_over_http(neon_env: NeonEnv) -> None:
    env = neon_env
    pageserver, safekeeper = env.pageserver.http(), env.safekeepers[0].http()
    tenant, stranger = env.initial_tenant, new_id()
    expect(404, stranger, lambda: pageserver.tenant_status(stranger))
    expect(404, stranger, lambda: pageserver.timeline_detail(tenant, stranger))
    expect(400, "tenant", lambda: pageserver.tenant_status("not-hex"))
    expect(404, stranger, lambda: safekeeper.timeline_status(tenant, stranger))
    expect(400, ".", lambda: safekeeper.timeline_status("xyz", stranger))
    expect(400, ".", lambda: pageserver.call("POST", f"/v1/tenant/{tenant}/timeline", data="{oops"))
    expect(400, ".", lambda: pageserver.location_config(tenant, {"mode": "Sideways", "tenant_conf": {}}))
    expect(404, ".", lambda: pageserver.call("GET", "/v1/no/such/route"))
    expect(
        400, "Generation",
        lambda: pageserver.location_config(new_id(), {"mode": "AttachedSingle", "tenant_conf": {}}),
    )


def test_an_unknown_postgres_version_is_refused(neon_env: NeonEnv) -> None:
    env = neon_env
    with pytest.raises(ApiException, match="14"):
        env.pageserver.http().timeline_create(env.initial_tenant, new_id(), pg_version=14)
    with pytest.raises(RuntimeError, match="14"):
        env.cli.timeline_create("old", 14)
    assert len(env.pageserver.http().timeline_list(env.initial_tenant)) == 1


def test_wrong_commands_over_libpq(neon_env: NeonEnv) -> None:
    env = neon_env
    tenant, stranger = env.initial_tenant, new_id()
    target = f"host=127.0.0.1 port={env.pageserver.pg_port} user=x dbname=x"
    for command, text in [
        ("nonsense", "nonsense"),
        (f"pagestream_v2 {tenant}", "invalid param number"),
        ("pagestream_v2 xyz abc", "Failed to parse tenant id"),
        (f"basebackup {tenant} {stranger}", "not found"),
        (f"fullbackup {tenant} {env.initial_timeline} 0/FFFFFFG", "Failed to parse Lsn"),
        (f"basebackup {tenant} {env.initial_timeline} 0/8", "invalid basebackup lsn"),
    ]:
        with psycopg.connect(target, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            with pytest.raises(psycopg.Error, match=text):
                connection.pgconn.exec_(command.encode())
                result = connection.pgconn.exec_(command.encode())
                raise psycopg.OperationalError(result.error_message.decode())


def test_a_truncated_control_file_stops_only_its_timeline(neon_env: NeonEnv) -> None:
    env = neon_env
    other = env.cli.timeline_create("other", env.pg_version)
    main, endpoint = env.endpoint(), env.endpoint(branch="other")
    main.sql("CREATE TABLE t AS SELECT 1 AS n")
    endpoint.sql("CREATE TABLE t AS SELECT 2 AS n")
    safekeeper = env.safekeepers[0]
    control = safekeeper.timeline_dir(env.initial_tenant, env.initial_timeline) / "safekeeper.control"
    safekeeper.stop()
    whole = control.read_bytes()
    control.write_bytes(whole[:100])
    safekeeper.start()
    assert safekeeper.log_contains("failed to load timeline")
    assert safekeeper.log_contains(env.initial_timeline)
    wait_until(lambda: safekeeper.http().timeline_status(env.initial_tenant, other))
    # Two of three are a quorum.
    main.sql("INSERT INTO t VALUES (3)")
    endpoint.sql("INSERT INTO t VALUES (4)")
    # Nothing was lost: the file back, the timeline is back.
    safekeeper.stop()
    control.write_bytes(whole)
    safekeeper.start()
    wait_until(lambda: safekeeper.http().timeline_status(env.initial_tenant, env.initial_timeline))
    assert main.value("SELECT count(*) FROM t") == 2


def test_daemons_name_what_is_wrong_with_their_configuration(neon_env: NeonEnv) -> None:
    env = neon_env
    env.pageserver.stop()
    config = env.pageserver.workdir / "pageserver.toml"
    whole = config.read_text()
    config.write_text(whole + "\nno_such_key = 1\n")
    with pytest.raises(RuntimeError):
        env.pageserver.start()
    assert env.pageserver.log_contains("no_such_key")
    config.write_text(whole)
    env.pageserver.start()
