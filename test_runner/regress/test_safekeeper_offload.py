"""Idle timelines leave the safekeepers' disks and come back when they are needed."""

from __future__ import annotations

from fixtures.common import Lsn, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, Safekeeper

FORBIDDEN = [
    "manager task finished prematurely",
    "error while acquiring WalResidentTimeline guard",
    "timeout while acquiring WalResidentTimeline guard",
]


def offloading(builder: NeonEnvBuilder) -> NeonEnv:
    builder.safekeepers_remote_storage = True
    builder.safekeeper_options = [
        "--enable-offload", "--delete-offloaded-wal", "--partial-backup-timeout=50ms",
        "--control-file-save-interval=1s",
    ]
    return builder.init_start()


def is_offloaded(safekeeper: Safekeeper, env: NeonEnv) -> bool:
    state = safekeeper.control_file(env.initial_tenant, env.initial_timeline)["eviction_state"]
    return state != "Present"


def make_idle(env: NeonEnv) -> Lsn:
    """Everything is with the pageserver's remote storage, so nobody needs WAL."""
    tenant, timeline = env.initial_tenant, env.initial_timeline
    end = max(sk.http().commit_lsn(tenant, timeline) for sk in env.safekeepers)
    env.pageserver.http().checkpoint_and_upload(tenant, timeline, end)
    return end


def wait_until_offloaded(env: NeonEnv) -> None:
    def offloaded() -> None:
        assert all(is_offloaded(sk, env) for sk in env.safekeepers)
        tenant, timeline = env.initial_tenant, env.initial_timeline
        assert not any(sk.segments(tenant, timeline) for sk in env.safekeepers)

    wait_until(offloaded, timeout_s=60)


def check_logs(env: NeonEnv) -> None:
    for safekeeper in env.safekeepers:
        text = safekeeper.log_file.read_text()
        assert not any(line in text for line in FORBIDDEN)
        assert "successfully evicted timeline" in text
        assert "successfully restored evicted timeline" in text


def test_idle_timelines_are_offloaded_and_return_under_load(neon_env_builder: NeonEnvBuilder) -> None:
    env = offloading(neon_env_builder)
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    for round_number in range(2):
        endpoint.stop(mode="immediate" if round_number else "fast")
        end = make_idle(env)
        wait_until_offloaded(env)
        # Offloaded timelines are known and shown as before, also after a restart.
        restarted = env.safekeepers[round_number]
        restarted.kill()
        restarted.start()
        assert restarted.http().flush_lsn(env.initial_tenant, env.initial_timeline) >= end
        assert is_offloaded(restarted, env)
        # The writers have been trying all the time: they go on at once.
        endpoint.start()
        ledger.wait_for_progress()
    ledger.stop()
    endpoint.stop()
    endpoint.start()
    ledger.verify()
    check_logs(env)


def test_a_reader_brings_an_offloaded_timeline_back(neon_env_builder: NeonEnvBuilder) -> None:
    env = offloading(neon_env_builder)
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    endpoint.stop()
    end = make_idle(env)
    wait_until_offloaded(env)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    start = Lsn(env.safekeepers[0].http().timeline_status(tenant, timeline)["timeline_start_lsn"])
    digests = {sk.http().digest(tenant, timeline, start, end) for sk in env.safekeepers}
    assert len(digests) == 1, "other bytes came back"
    # With the reader gone they are offloaded again.
    wait_until_offloaded(env)


def test_a_timeline_that_is_offloaded_can_be_deleted(neon_env_builder: NeonEnvBuilder) -> None:
    env = offloading(neon_env_builder)
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)", "SELECT pg_switch_wal()", "INSERT INTO t VALUES (1)")
    endpoint.stop()
    make_idle(env)
    wait_until_offloaded(env)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    archived = env.safekeepers_remote_dir / tenant / timeline
    assert any(archived.iterdir())
    for safekeeper in env.safekeepers:
        safekeeper.http().timeline_delete(tenant, timeline)
        assert not safekeeper.timeline_dir(tenant, timeline).exists()
    assert not archived.exists() or not any(archived.iterdir())
