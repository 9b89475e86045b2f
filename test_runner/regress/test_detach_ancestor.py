"""A branch becomes independent of its ancestor, and shows what it showed before."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import threading
from hashlib import sha256

import psycopg
import pytest
import requests
from fixtures.common import Lsn, new_id, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, table_digests
from fixtures.pageserver_http import ApiException, PageserverHttp
from fixtures.remote_storage import Store, check_that_indexed_objects_exist

# Layers of a few steps each: the branch points lie inside of some and between others.
TENANT_CONF = {
    "checkpoint_distance": "1048576", "compaction_period": "0s", "compaction_threshold": "4",
}


def step(endpoint, number: int) -> Lsn:
    """A few hundred KiB of WAL."""
    endpoint.sql(
        f"INSERT INTO history SELECT {number}, n, repeat('x', 200) FROM generate_series(1, 800) n",
        f"UPDATE history SET filler = 'step {number}' WHERE n = {number}",
    )
    return endpoint.flush_lsn()


def full_backup(env: NeonEnv, timeline: str, lsn: Lsn) -> dict[str, str]:
    """Digest of every file of the pageserver's backup at an LSN."""
    target = f"host=127.0.0.1 port={env.pageserver.pg_port} user=x dbname=x"
    archive = bytearray()
    with psycopg.connect(target, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        with connection.cursor().copy(f"fullbackup {env.initial_tenant} {timeline} {lsn}") as copy:
            for part in copy:
                archive += part
    files = {}
    with tarfile.open(fileobj=io.BytesIO(bytes(archive))) as tar:
        for member in tar:
            content = tar.extractfile(member)
            files[member.name] = sha256(content.read()).hexdigest() if content else ""
    # Which record came before, and what a crash would leave, are no data.
    return {name: digest for name, digest in files.items() if name not in ("zenith.signal", "global/pg_control")}


def wait_until_served(env: NeonEnv, timeline: str, lsn: Lsn) -> None:
    env.pageserver.http().wait_for_last_record_lsn(env.initial_tenant, timeline, lsn)


def ancestors(env: NeonEnv) -> dict[str, str | None]:
    timelines = env.pageserver.http().timeline_list(env.initial_tenant)
    return {t["timeline_id"]: t.get("ancestor_timeline_id") for t in timelines}


def test_a_branch_outlives_its_ancestor(neon_env_builder: NeonEnvBuilder, store: Store) -> None:
    neon_env_builder.store = store
    neon_env_builder.tenant_config = dict(TENANT_CONF)
    env = neon_env_builder.init_start()
    http, tenant, root = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    main = env.endpoint()
    main.sql("CREATE TABLE history (step int, n int, filler text)")
    lsns = [step(main, number) for number in range(1, 13)]
    ids = {
        name: env.cli.timeline_branch(name, lsn=lsns[at])
        for name, at in (("older", 2), ("twin", 6), ("kept", 6), ("newer", 9))
    }
    older, kept = env.endpoint(branch="older"), env.endpoint(branch="kept")
    kept.sql("DELETE FROM history WHERE step = 2")
    ledger = Ledger(kept).create().start()
    ledger.wait_for_progress()
    # The branch has WAL of its own that compaction, too, has seen.
    http.timeline_checkpoint(tenant, ids["kept"])
    moment = kept.flush_lsn()
    wait_until_served(env, ids["kept"], moment)
    main.stop()
    points = {ids["older"]: lsns[2], ids["kept"]: moment, ids["newer"]: lsns[9]}
    before = {timeline: full_backup(env, timeline, lsn) for timeline, lsn in points.items()}
    digests = table_digests(older)
    older.stop()
    assert http.layer_map(tenant, root)["historic_layers"]

    # The store fails at first. Writers go on all the time.
    http.configure_failpoints(("timeline-detach-copy", "2*return"))
    ledger.wait_for_progress()
    detached = http.timeline_detach_ancestor(tenant, ids["kept"], copy_concurrency=2)
    assert sorted(detached["reparented_timelines"]) == sorted([ids["older"], ids["twin"]])
    assert env.pageserver.log_contains("will retry")
    assert env.pageserver.log_contains("succeeded after")
    ledger.wait_for_progress()
    expected = {
        root: None, ids["kept"]: None, ids["older"]: ids["kept"], ids["twin"]: ids["kept"],
        ids["newer"]: root,
    }
    assert ancestors(env) == expected
    for timeline, lsn in points.items():
        assert full_backup(env, timeline, lsn) == before[timeline]
    with pytest.raises(ApiException, match="no ancestors") as again:
        http.timeline_detach_ancestor(tenant, ids["kept"])
    assert again.value.status_code == 409

    # Inherited layers are compacted with the branch's own.
    ledger.wait_for_progress()
    http.timeline_checkpoint(tenant, ids["kept"])
    http.timeline_compact(tenant, ids["kept"], force_image_layer_creation="true")
    assert full_backup(env, ids["kept"], moment) == before[ids["kept"]]

    # The old root can go once nobody needs it.
    with pytest.raises(ApiException, match="child timelines"):
        http.timeline_delete(tenant, root)
    for timeline in (ids["newer"], root):
        http.timeline_delete(tenant, timeline)
        http.wait_for_timeline_to_be_gone(tenant, timeline)
    http.deletion_queue_flush(execute=True)
    ledger.stop()
    lsn = kept.flush_lsn()
    http.checkpoint_and_upload(tenant, ids["kept"], lsn)
    kept.stop()
    assert check_that_indexed_objects_exist(store) > 3
    assert not store.keys(prefix=f"tenants/{tenant}/timelines/{root}")

    # Nothing but the store is left of the pageserver's data.
    env.pageserver.stop()
    shutil.rmtree(env.pageserver.tenant_dir(tenant) / "timelines")
    env.pageserver.start()
    assert full_backup(env, ids["kept"], moment) == before[ids["kept"]]
    assert table_digests(env.endpoint("older-again", branch="older")) == digests
    again = env.endpoint("kept-again", branch="kept")
    ledger.verify(again)
    assert again.value("SELECT count(DISTINCT step) FROM history") == 6


def test_a_branch_without_writes_can_be_detached_and_written_to(neon_env: NeonEnv) -> None:
    env = neon_env
    http, tenant = env.pageserver.http(), env.initial_tenant
    main = env.endpoint()
    main.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    lsn = main.flush_lsn()
    main.sql("DELETE FROM t WHERE n > 10")
    branch = env.cli.timeline_branch("branch", lsn=lsn)
    assert http.timeline_detach_ancestor(tenant, branch) == {"reparented_timelines": []}
    # No record precedes what it writes first, as on any branch.
    endpoint = env.endpoint(branch="branch")
    endpoint.sql("INSERT INTO t SELECT n FROM generate_series(1001, 2000) n")
    assert endpoint.value("SELECT count(*) FROM t") == 2000
    assert main.value("SELECT count(*) FROM t") == 10
    endpoint.stop(destroy=True)
    assert env.endpoint("again", branch="branch").value("SELECT count(*) FROM t") == 2000


def test_what_cannot_be_detached(neon_env: NeonEnv) -> None:
    env = neon_env
    http = PageserverHttp(env.pageserver.http_port, retry_unavailable=False)
    tenant, root = env.initial_tenant, env.initial_timeline
    branch = env.cli.timeline_branch("branch")
    other = env.cli.timeline_branch("other")
    twig = env.cli.timeline_branch("twig", ancestor="branch")

    def refused(status: int, text: str, timeline: str, owner: str = tenant, **query: int) -> None:
        with pytest.raises(ApiException, match=text) as error:
            http.timeline_detach_ancestor(owner, timeline, **query)
        assert error.value.status_code == status

    refused(409, "no ancestors", root)
    refused(400, "too many ancestors", twig)
    refused(404, "not found", new_id())
    refused(404, "tenant", branch, owner=new_id())
    refused(400, "rewrite_concurrency", branch, rewrite_concurrency=0)
    refused(400, "copy_concurrency", branch, copy_concurrency=-1)

    http.configure_failpoints(("timeline-detach-before-copy", "pause"))
    outcome: list[dict[str, list[str]]] = []
    waiting = threading.Thread(
        target=lambda: outcome.append(http.timeline_detach_ancestor(tenant, branch))
    )
    waiting.start()

    def held() -> None:
        log = env.pageserver.log_file.read_text(errors="replace")
        assert re.search(r"detach_ancestor\{.*failpoint \"?timeline-detach-before-copy", log)

    wait_until(held)
    refused(503, "already ongoing", other)
    http.configure_failpoints(("timeline-detach-before-copy", "off"))
    waiting.join(timeout=60)
    assert outcome == [{"reparented_timelines": [other]}]
    assert ancestors(env) == {root: None, branch: None, other: branch, twig: branch}
    # One level nearer to the root: now it can be.
    assert env.pageserver.http().timeline_detach_ancestor(tenant, twig) == {
        "reparented_timelines": [other]
    }
    assert ancestors(env) == {root: None, branch: None, other: twig, twig: None}


@pytest.mark.parametrize(
    ("failpoint", "detached"),
    [
        ("timeline-detach-before-index", False),
        ("timeline-detach-before-reparent", True),
        ("timeline-detach-before-reset", True),
    ],
)
def test_a_kill_leaves_a_branch_or_a_root(
    neon_env_builder: NeonEnvBuilder, failpoint: str, detached: bool
) -> None:
    neon_env_builder.tenant_config = dict(TENANT_CONF)
    env = neon_env_builder.init_start()
    http, tenant, root = env.pageserver.http(), env.initial_tenant, env.initial_timeline
    main = env.endpoint()
    main.sql("CREATE TABLE history (step int, n int, filler text)")
    lsns = [step(main, number) for number in range(1, 6)]
    sibling = env.cli.timeline_branch("sibling", lsn=lsns[1])
    branch = env.cli.timeline_branch("branch", lsn=lsns[3])
    main.stop()
    points = {sibling: lsns[1], branch: lsns[3]}
    before = {timeline: full_backup(env, timeline, lsn) for timeline, lsn in points.items()}
    http.configure_failpoints((failpoint, "kill"))
    with pytest.raises(requests.RequestException):
        PageserverHttp(env.pageserver.http_port, retry_unavailable=False).timeline_detach_ancestor(
            tenant, branch
        )
    env.pageserver.kill()
    env.pageserver.start_alone()

    def unchanged() -> None:
        wait_until_served(env, root, lsns[4])
        for timeline, lsn in points.items():
            assert full_backup(env, timeline, lsn) == before[timeline]

    unchanged()
    assert ancestors(env)[branch] == (None if detached else root)
    handed_over = failpoint == "timeline-detach-before-reset"
    assert ancestors(env)[sibling] == (branch if handed_over else root)
    if not detached:
        assert http.timeline_detach_ancestor(tenant, branch)["reparented_timelines"] == [sibling]
        unchanged()
    local = {path.name for path in env.pageserver.timeline_dir(tenant, branch).iterdir()}
    assert not [name for name in local if name.startswith("__temp") or name.endswith("___temp")], local
    check_that_indexed_objects_exist(env.store)
