"""Safekeepers that miss WAL get it from their fellows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from fixtures.common import Lsn, new_id, wait_until
from fixtures.disk import fill, small_disk
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import Endpoint, NeonEnv, NeonEnvBuilder, Safekeeper
from fixtures.pageserver_http import ApiException

SNAPSHOT = "sk-snapshot-after-list-pausable"


def hosts(safekeepers: list[Safekeeper]) -> list[str]:
    return [f"http://127.0.0.1:{sk.http_port}" for sk in safekeepers]


def assert_equal_wal(env: NeonEnv, safekeepers: list[Safekeeper], end: Lsn) -> None:
    tenant, timeline = env.initial_tenant, env.initial_timeline
    status = safekeepers[0].http().timeline_status(tenant, timeline)
    start = Lsn(status["timeline_start_lsn"])
    digests = {sk.http().digest(tenant, timeline, start, end) for sk in safekeepers}
    assert len(digests) == 1, "WAL differs"


def test_a_safekeeper_catches_up_without_a_compute(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.safekeeper_options = ["--peer-recovery=true"]
    env = neon_env_builder.init_start()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    late = env.safekeepers[2]
    late.kill()
    # Without a pageserver that has it all the timeline stays active, and peers hear of it.
    env.pageserver.kill()
    endpoint.sql("INSERT INTO t SELECT generate_series(1, 300000)", "SELECT pg_switch_wal()")
    endpoint.kill()
    end = env.safekeepers[0].http().commit_lsn(tenant, timeline)
    late.start()

    def caught_up() -> None:
        assert late.http().commit_lsn(tenant, timeline) >= end

    wait_until(caught_up, timeout_s=60)
    assert "starting recovery from safekeeper" in late.log_file.read_text()
    assert_equal_wal(env, [env.safekeepers[0], late], end)
    # The recovered one counts as a member of a quorum.
    env.safekeepers[0].kill()
    env.pageserver.start()
    endpoint.start()
    assert endpoint.value("SELECT count(*) FROM t") == 300_000


def check(condition: bool) -> None:
    assert condition


@contextmanager
def paused_pull(env: NeonEnv, empty: Safekeeper, donor: Safekeeper) -> Iterator[Future[Any]]:
    """A pull that waits in the middle; leaving lets it go on."""
    donor.http().configure_failpoints((SNAPSHOT, "pause"))
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(
                empty.http().pull_timeline, env.initial_tenant, env.initial_timeline, hosts([donor])
            )
        finally:
            donor.http().configure_failpoints((SNAPSHOT, "off"))


def wait_until_paused(donor: Safekeeper) -> None:
    wait_until(lambda: check(donor.log_contains(f"at failpoint {SNAPSHOT}")))


def four_safekeepers(builder: NeonEnvBuilder) -> tuple[NeonEnv, Endpoint]:
    """Three of the four have the timeline."""
    builder.num_safekeepers = 4
    env = builder.init_start()
    empty = env.safekeepers[3]
    empty.http().timeline_delete(env.initial_tenant, env.initial_timeline)
    assert not empty.timeline_dir(env.initial_tenant, env.initial_timeline).exists()
    endpoint = env.endpoint(start=False)
    endpoint.start(safekeepers=[1, 2, 3])
    return env, endpoint


def test_a_timeline_is_pulled_onto_an_empty_node_while_writes_go_on(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    env, endpoint = four_safekeepers(neon_env_builder)
    first, second, third, empty = env.safekeepers
    tenant, timeline = env.initial_tenant, env.initial_timeline
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    first.kill()
    answer = empty.http().pull_timeline(tenant, timeline, hosts([second, third]))
    assert answer["safekeeper_host"] in hosts([second, third])
    ledger.wait_for_progress()
    endpoint.stop()
    endpoint.start(safekeepers=[2, 3, 4])
    ledger.wait_for_progress()
    # The new member makes a quorum with either of the others.
    second.kill()
    ledger.wait_for_progress()
    ledger.stop()
    endpoint.stop()
    end = empty.http().commit_lsn(tenant, timeline)
    assert_equal_wal(env, [third, empty], min(end, third.http().flush_lsn(tenant, timeline)))
    endpoint.start(safekeepers=[2, 3, 4])
    ledger.verify()


def test_wal_stays_while_a_snapshot_is_being_sent(neon_env_builder: NeonEnvBuilder) -> None:
    env, endpoint = four_safekeepers(neon_env_builder)
    donor, empty = env.safekeepers[0], env.safekeepers[3]
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint.sql("CREATE TABLE t (n int)")
    first = Lsn(donor.http().timeline_status(tenant, timeline)["timeline_start_lsn"]).segment_name()

    def first_is_removed(safekeeper: Safekeeper) -> None:
        safekeeper.http().checkpoint(tenant, timeline)
        assert first not in safekeeper.segments(tenant, timeline)

    with paused_pull(env, empty, donor) as pull:
        wait_until_paused(donor)
        for n in range(3):
            endpoint.sql(f"INSERT INTO t VALUES ({n})", "SELECT pg_switch_wal()")
        end = endpoint.flush_lsn()
        env.pageserver.http().checkpoint_and_upload(tenant, timeline, end)
        # Its fellow shows that nobody needs the segment any more.
        wait_until(lambda: first_is_removed(env.safekeepers[1]), timeout_s=60)
        donor.http().checkpoint(tenant, timeline)
        kept = (donor.timeline_dir(tenant, timeline) / first).read_bytes()
    pull.result()
    assert (empty.timeline_dir(tenant, timeline) / first).read_bytes() == kept
    wait_until(lambda: first_is_removed(donor), timeout_s=60)


def test_a_new_term_spoils_a_snapshot(neon_env_builder: NeonEnvBuilder) -> None:
    env, endpoint = four_safekeepers(neon_env_builder)
    donor, empty = env.safekeepers[0], env.safekeepers[3]
    with paused_pull(env, empty, donor) as pull:
        wait_until_paused(donor)
        endpoint.stop()
        endpoint.start(safekeepers=[1, 2, 3])
        endpoint.sql("CREATE TABLE t (n int)")
    with pytest.raises(ApiException):
        pull.result()
    assert not empty.timeline_dir(env.initial_tenant, env.initial_timeline).exists()


def test_a_copy_has_the_same_wal_and_a_patch_survives(neon_env: NeonEnv) -> None:
    env = neon_env
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n", "SELECT pg_switch_wal()")
    endpoint.sql("INSERT INTO t VALUES (0)")
    end = endpoint.flush_lsn()
    target = new_id()
    for safekeeper in env.safekeepers:
        http = safekeeper.http()
        wait_until(lambda http=http: check(http.flush_lsn(tenant, timeline) >= end))
        http.copy_timeline(tenant, timeline, target, end)
        start = Lsn(http.timeline_status(tenant, timeline)["timeline_start_lsn"])
        assert http.digest(tenant, timeline, start, end) == http.digest(tenant, target, start, end)
        assert http.debug_dump()["timelines_count"] == 2
    safekeeper = env.safekeepers[0]
    patched = safekeeper.http().patch_control_file(tenant, timeline, timeline_start_lsn="0/1")
    assert patched["new_control_file"]["timeline_start_lsn"] == "0/1"
    safekeeper.kill()
    safekeeper.start()
    assert safekeeper.http().timeline_status(tenant, timeline)["timeline_start_lsn"] == "0/1"
    endpoint.sql("INSERT INTO t VALUES (1)")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_stops_one_safekeeper_and_loses_nothing(neon_env_builder: NeonEnvBuilder) -> None:
    env = neon_env_builder.init_configs()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    small = env.safekeepers[0]
    with small_disk(small.data_dir, size_mib=512):
        env.start()
        env.create_initial_tenant()
        endpoint = env.endpoint()
        ledger = Ledger(endpoint).create().start()
        ledger.wait_for_progress()
        filler = fill(small.data_dir)
        endpoint.sql("SELECT pg_switch_wal()")
        wait_until(lambda: check(small.log_contains("No space left on device")), timeout_s=60)
        # The quorum goes on without it; it answers, and serves what it has.
        ledger.wait_for_progress()
        stuck = small.http().flush_lsn(tenant, timeline)
        start = Lsn(small.http().timeline_status(tenant, timeline)["timeline_start_lsn"])
        assert small.http().digest(tenant, timeline, start, stuck)
        assert stuck < endpoint.flush_lsn()

        filler.unlink()
        wait_until(lambda: check(small.http().flush_lsn(tenant, timeline) > stuck), timeout_s=60)
        env.safekeepers[1].kill()
        ledger.wait_for_progress()
        ledger.stop()
        endpoint.stop()
        endpoint.start()
        ledger.verify()
        env.builder.cleanup(keep_data=True)
