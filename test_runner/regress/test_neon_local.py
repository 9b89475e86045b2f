"""neon_local as a user meets it."""

from __future__ import annotations

import re

import pytest
from fixtures.common import new_id, run
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder

VERSION = re.compile(r"git(-env)?:[0-9a-fA-F]{8,40}")


def test_timeline_list_equals_the_api(neon_env: NeonEnv) -> None:
    env = neon_env
    env.cli.timeline_branch("a")
    env.cli.timeline_branch("b", ancestor="a")
    listed = {timeline for _, timeline in env.cli.timeline_list()}
    api = env.pageserver.http().timeline_list(env.initial_tenant)
    assert listed == {timeline["timeline_id"] for timeline in api}
    assert [name for name, _ in env.cli.timeline_list()] == ["a", "b", "main"]


def test_tenants_are_listed_and_separate(neon_env: NeonEnv) -> None:
    env = neon_env
    tenant, timeline = new_id(), new_id()
    env.cli.raw("tenant", "create", "--tenant-id", tenant, "--timeline-id", timeline)
    listed = {line.split()[0] for line in env.cli.raw("tenant", "list").splitlines()}
    assert listed == {env.initial_tenant, tenant}
    assert [name for name, _ in env.cli.timeline_list()] == ["main"]


def test_stop_and_start_of_everything(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT 1 AS n")
    env.stop()
    env.stop()
    env.start()
    assert "running" not in env.cli.raw("endpoint", "list")
    assert endpoint.start().value("SELECT n FROM t") == 1
    assert "running" in env.cli.raw("endpoint", "list")


def test_single_daemons_start_and_stop(neon_env: NeonEnv) -> None:
    env = neon_env
    for daemon in (env.pageserver, *env.safekeepers):
        daemon.stop()
        daemon.stop()
        daemon.start()
    env.cli.raw("storage_broker", "stop")
    env.cli.raw("storage_broker", "start")
    env.cli.raw("pageserver", "status")
    with pytest.raises(RuntimeError, match="could not find pageserver 9"):
        env.cli.raw("pageserver", "stop", "--id=9")
    with pytest.raises(RuntimeError, match="could not find safekeeper 9"):
        env.cli.raw("safekeeper", "stop", "9")
    assert "running" in env.cli.raw("status")


def test_a_second_primary_is_refused(neon_env: NeonEnv) -> None:
    env = neon_env
    first = env.endpoint("first")
    with pytest.raises(RuntimeError, match="attempting to create a duplicate primary endpoint"):
        env.endpoint("second")
    first.stop()
    second = env.endpoint("second")
    with pytest.raises(RuntimeError, match="duplicate primary"):
        first.start()
    second.stop()
    first.start()


def test_commands_without_a_repository_say_so(neon_env_builder: NeonEnvBuilder) -> None:
    env = neon_env_builder.init_configs()
    nowhere = neon_env_builder.output_dir / "nowhere"
    with pytest.raises(RuntimeError, match="neon_local init"):
        env.cli.raw("status", NEON_REPO_DIR=str(nowhere))
    with pytest.raises(RuntimeError, match="already exists"):
        env.cli.raw("init")


def test_unknown_names_are_refused(neon_env: NeonEnv) -> None:
    env = neon_env
    with pytest.raises(RuntimeError, match="no timeline id for branch name 'nope'"):
        env.cli.timeline_branch("x", ancestor="nope")
    with pytest.raises(RuntimeError, match="endpoint nope not found"):
        env.cli.raw("endpoint", "start", "nope")
    with pytest.raises(RuntimeError, match="already mapped"):
        env.cli.raw(
            "mappings", "map", "--branch-name", "main", "--tenant-id", env.initial_tenant,
            "--timeline-id", new_id(),
        )


def test_every_binary_tells_its_version(neon_env_builder: NeonEnvBuilder) -> None:
    for name in ("pageserver", "safekeeper", "storage_broker", "neon_local"):
        output = run([neon_env_builder.bin_dir / name, "--version"]).stdout
        assert VERSION.search(output), output
    for name in ("pageserver", "safekeeper"):
        assert '"testing"' in run([neon_env_builder.bin_dir / name, "--version"]).stdout
