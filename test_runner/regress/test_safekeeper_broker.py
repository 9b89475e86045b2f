"""What safekeepers tell each other and pageservers, and what follows from it."""

from __future__ import annotations

from fixtures.common import WAL_SEGMENT_SIZE, Lsn, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder


def lsn_of(env: NeonEnv, index: int, key: str) -> Lsn:
    status = env.safekeepers[index].http().timeline_status(env.initial_tenant, env.initial_timeline)
    return Lsn(status[key])


def test_wal_is_found_although_safekeepers_do_not_publish(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.safekeeper_options = ["--disable-periodic-broker-push"]
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    env.pageserver.kill()
    endpoint.sql("INSERT INTO t SELECT generate_series(1, 1000)")
    endpoint.stop()
    env.pageserver.start()
    # The boot needs a base backup with everything committed, so the pageserver has to ask around.
    endpoint.start()
    assert endpoint.value("SELECT count(*) FROM t") == 1000


def test_what_pageservers_stored_is_known_everywhere_and_remembered(neon_env: NeonEnv) -> None:
    env = neon_env
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
    endpoint.stop()
    end = max(sk.http().commit_lsn(tenant, timeline) for sk in env.safekeepers)
    env.pageserver.http().checkpoint_and_upload(tenant, timeline, end)

    def known_everywhere() -> None:
        for index in range(len(env.safekeepers)):
            assert lsn_of(env, index, "remote_consistent_lsn") >= end

    wait_until(known_everywhere, timeout_s=60)
    for safekeeper in env.safekeepers:
        safekeeper.http().checkpoint(tenant, timeline)
        safekeeper.kill()
        safekeeper.start()
    known_everywhere()


def test_two_of_three_archive_what_they_have(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.safekeepers_remote_storage = True
    env = neon_env_builder.init_start()
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")
    down = env.safekeepers[0]
    down.kill()
    for n in range(3):
        endpoint.sql(f"INSERT INTO t VALUES ({n})", "SELECT pg_switch_wal()")
    endpoint.sql("INSERT INTO t VALUES (-1)")
    end = endpoint.flush_lsn()
    archived = env.safekeepers_remote_dir / tenant / timeline

    def everything_is_archived() -> None:
        for index in (1, 2):
            assert lsn_of(env, index, "backup_lsn") >= end.segment_start()

    wait_until(everything_is_archived, timeout_s=60)
    segments = [path for path in archived.iterdir() if not path.name.endswith(".partial")]
    assert len(segments) >= 3
    assert all(path.stat().st_size == WAL_SEGMENT_SIZE for path in segments)
    endpoint.stop()
    down.start()
    for safekeeper in env.safekeepers:
        safekeeper.http().timeline_delete(tenant, timeline)
    assert not archived.exists() or not any(archived.iterdir())


def test_wal_nobody_took_is_handed_over_after_an_orderly_restart_without_computes(
    neon_env: NeonEnv,
) -> None:
    """What safekeepers know of the commit position must outlive them: a pageserver that lags does
    not ask for WAL of an idle timeline, it is told."""
    env = neon_env
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t (n int)")

    def the_pageserver_has_all_that_is_saved() -> None:
        env.pageserver.http().checkpoint_and_upload(tenant, timeline, endpoint.flush_lsn())
        for safekeeper in env.safekeepers:
            safekeeper.http().checkpoint(tenant, timeline)
            saved = safekeeper.control_file(tenant, timeline)
            assert Lsn(saved["remote_consistent_lsn"]) >= Lsn(saved["commit_lsn"])

    wait_until(the_pageserver_has_all_that_is_saved, timeout_s=60)
    env.pageserver.kill()
    endpoint.sql("INSERT INTO t SELECT generate_series(1, 100)")
    end = endpoint.flush_lsn()

    def the_commit_is_known_everywhere() -> None:
        for index in range(len(env.safekeepers)):
            assert lsn_of(env, index, "commit_lsn") >= end

    wait_until(the_commit_is_known_everywhere, timeout_s=60)
    endpoint.kill()
    for safekeeper in env.safekeepers:
        safekeeper.stop()
    for safekeeper in env.safekeepers:
        assert Lsn(safekeeper.control_file(tenant, timeline)["commit_lsn"]) >= end
        safekeeper.start()
    env.pageserver.start()

    def the_pageserver_took_it() -> None:
        assert env.pageserver.http().last_record_lsn(tenant, timeline) >= end

    wait_until(the_pageserver_took_it, timeout_s=60)
