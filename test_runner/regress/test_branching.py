"""Branches: at any LSN, of branches, and what is refused."""

from __future__ import annotations

import pytest
from fixtures.common import Lsn, new_id
from fixtures.neon_fixtures import NeonEnv
from fixtures.pageserver_http import ApiException


def test_branches_show_their_moment(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint()
    main.sql("CREATE TABLE foo (n int PRIMARY KEY, filler text)")
    moments: list[tuple[Lsn, int]] = []
    for step in range(1, 6):
        main.sql(
            f"INSERT INTO foo SELECT n, repeat('a', 100) FROM generate_series({step * 1000}, {step * 1000 + 999}) n",
            f"UPDATE foo SET filler = 'step {step}' WHERE n % 7 = 0",
        )
        moments.append((main.flush_lsn(), step))
    for number, (lsn, step) in enumerate(moments):
        name = f"moment{number}"
        env.cli.timeline_branch(name, lsn=lsn)
        branch = env.endpoint(branch=name)
        assert branch.value("SELECT count(*) FROM foo") == step * 1000
        assert branch.sql("SELECT DISTINCT filler FROM foo WHERE n % 7 = 0") == [(f"step {step}",)]
        branch.stop()


def test_a_branch_of_a_branch(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint()
    main.sql("CREATE TABLE t (place text)", "INSERT INTO t VALUES ('main')")
    env.pageserver.http().wait_for_last_record_lsn(
        env.initial_tenant, env.initial_timeline, main.flush_lsn()
    )
    env.cli.timeline_branch("child")
    child = env.endpoint(branch="child")
    child.sql("INSERT INTO t VALUES ('child')")
    env.cli.timeline_branch("grandchild", ancestor="child", lsn=child.flush_lsn())
    grandchild = env.endpoint(branch="grandchild")
    grandchild.sql("INSERT INTO t VALUES ('grandchild')")
    main.sql("DELETE FROM t")
    assert main.sql("SELECT place FROM t") == []
    assert child.sql("SELECT place FROM t ORDER BY 1") == [("child",), ("main",)]
    assert len(grandchild.sql("SELECT place FROM t")) == 3


def test_a_branch_point_before_the_timeline_is_refused(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    with pytest.raises(ApiException, match="invalid branch start lsn") as refused:
        http.timeline_create(
            env.initial_tenant, new_id(), ancestor_timeline_id=env.initial_timeline,
            ancestor_start_lsn="0/8",
        )
    assert refused.value.status_code == 406
    assert [t["timeline_id"] for t in http.timeline_list(env.initial_tenant)] == [env.initial_timeline]


def test_creating_a_branch_again_is_the_same_branch(neon_env: NeonEnv) -> None:
    env = neon_env
    http = env.pageserver.http()
    timeline = new_id()
    fields = {"ancestor_timeline_id": env.initial_timeline, "pg_version": env.pg_version}
    first = http.timeline_create(env.initial_tenant, timeline, **fields)
    again = http.timeline_create(env.initial_tenant, timeline, **fields)
    assert again["ancestor_lsn"] == first["ancestor_lsn"]
    with pytest.raises(ApiException) as conflict:
        http.timeline_create(env.initial_tenant, timeline, pg_version=env.pg_version)
    assert conflict.value.status_code == 409
