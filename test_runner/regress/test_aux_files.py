"""Files that a compute keeps in storage by messages in its WAL."""

from __future__ import annotations

import json

import pytest
from fixtures.common import Lsn
from fixtures.neon_fixtures import Endpoint, NeonEnv, NeonEnvBuilder
from fixtures.pageserver_http import ApiException
from fixtures.remote_storage import newest_indexes


def put(endpoint: Endpoint, **files: str) -> Lsn:
    """Writes files, or removes those without content. Returns where the WAL ends."""
    for name, content in files.items():
        # Of the transaction, so that its commit flushes it.
        endpoint.sql(f"SELECT pg_logical_emit_message(true, 'neon-file:pg_replslot/{name}/state', '{content}')")
    return endpoint.flush_lsn()


def listed(env: NeonEnv, timeline: str, lsn: Lsn) -> dict[str, bytes]:
    http = env.pageserver.http()
    http.wait_for_last_record_lsn(env.initial_tenant, timeline, lsn)
    return http.list_aux_files(env.initial_tenant, timeline, lsn)


def policy(env: NeonEnv, timeline: str) -> str | None:
    return env.pageserver.http().timeline_detail(env.initial_tenant, timeline)["last_aux_file_policy"]


def test_files_stay_with_their_timeline(neon_env: NeonEnv) -> None:
    env = neon_env
    http, tenant, root = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    assert policy(env, root) is None
    endpoint = env.endpoint()
    first = put(endpoint, one="1", two="2")
    second = put(endpoint, one="", two="two", three="3")
    expected = {"pg_replslot/two/state": b"two", "pg_replslot/three/state": b"3"}
    assert listed(env, root, second) == expected
    assert listed(env, root, first) == {"pg_replslot/one/state": b"1", "pg_replslot/two/state": b"2"}
    # Stated where another implementation of the format looks for it.
    assert policy(env, root) == "v2"
    http.checkpoint_and_upload(tenant, root, second)
    assert [index["last_aux_file_policy"] for _, _, index in newest_indexes(env.store)] == ["v2"]
    env.pageserver.stop()
    env.pageserver.start()
    assert (listed(env, root, second), policy(env, root)) == (expected, "v2")
    # Slots of a timeline mean nothing on a branch of it.
    branch = env.cli.timeline_branch("branch", lsn=second)
    assert (listed(env, branch, second), policy(env, branch)) == ({}, "v2")
    # Nor on one that takes over its layers.
    http.timeline_detach_ancestor(tenant, branch)
    assert (listed(env, branch, second), policy(env, branch)) == ({}, "v2")
    assert listed(env, root, second) == expected


def test_files_can_be_stored_as_other_versions_do(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.tenant_config = {"switch_aux_file_policy": "cross-validation"}
    env = neon_env_builder.init_start()
    http, tenant, root = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    put(endpoint, one="1")
    lsn = put(endpoint, two="2", one="")
    assert listed(env, root, lsn) == {"pg_replslot/two/state": b"2"}
    assert policy(env, root) == "cross-validation"
    # From there to one key per file, and not back.
    for wanted in ("v2", "v1"):
        body = {"tenant_id": tenant, "switch_aux_file_policy": wanted}
        http.call("PUT", "/v1/tenant/config", json=body)
        lsn = put(endpoint, **{wanted: "x"})
    assert sorted(listed(env, root, lsn)) == [f"pg_replslot/{name}/state" for name in ("two", "v1", "v2")]
    assert policy(env, root) == "v2"


def test_the_policy_can_be_written_down(neon_env: NeonEnv) -> None:
    env = neon_env
    http, tenant, root = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    path = f"/v1/tenant/{tenant}/timeline/{root}"
    with pytest.raises(ApiException, match="expected v1, v2 or cross-validation") as refused:
        http.call("PUT", f"{path}/force_aux_policy_switch", json="v3")
    assert refused.value.status_code == 400
    http.call("PUT", f"{path}/force_aux_policy_switch", json="v1")
    assert policy(env, root) == "v1"
    files = {"pg_logical/mappings/a": "content of a", "pg_logical/b": "b"}
    http.call("POST", f"{path}/ingest_aux_files", json={"aux_files": files})
    lsn = http.last_record_lsn(tenant, root)
    expected = {name: content.encode() for name, content in files.items()}
    assert http.list_aux_files(tenant, root, lsn) == expected
    counts = http.timeline_detail(tenant, root)["directory_entries_counts"]
    assert counts[3] == 2, json.dumps(counts)
    # Somebody who knows better says that they are stored one by one: there are none.
    http.call("PUT", f"{path}/force_aux_policy_switch", json="v2")
    assert http.list_aux_files(tenant, root, lsn) == {}
