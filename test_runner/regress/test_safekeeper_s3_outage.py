"""Safekeepers whose bucket fails: nothing is lost, it shows, and everything goes on afterwards."""

from __future__ import annotations

import hashlib

import pytest
from fixtures.common import WAL_SEGMENT_SIZE, Lsn, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder
from fixtures.pageserver_http import ApiException
from fixtures.remote_storage import S3Store


def with_bucket(builder: NeonEnvBuilder, store: S3Store, *options: str) -> NeonEnv:
    builder.store = store
    builder.safekeepers_remote_storage = True
    builder.safekeeper_options = list(options)
    return builder.init_start()


def backup_errors(env: NeonEnv) -> float:
    samples = (
        sk.http().metric_samples("safekeeper_backup_errors_total") for sk in env.safekeepers
    )
    return sum(sum(values) for values in samples)


def backup_lsn(env: NeonEnv) -> Lsn:
    statuses = (
        sk.http().timeline_status(env.initial_tenant, env.initial_timeline)
        for sk in env.safekeepers
    )
    return max(Lsn(status["backup_lsn"]) for status in statuses)


@pytest.mark.parametrize("failure", ["503", pytest.param("unreachable", marks=pytest.mark.slow)])
def test_wal_waits_for_a_bucket_that_fails(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store, failure: str
) -> None:
    env = with_bucket(neon_env_builder, s3_store)
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    if failure == "unreachable":
        s3_store.gate.shut()
    else:
        s3_store.gate.answer_with(int(failure))
    before = backup_lsn(env)
    for _ in range(2):
        endpoint.sql("SELECT pg_switch_wal()")
        ledger.wait_for_progress()

    def noticed() -> None:
        assert backup_errors(env) >= 2
        assert any(
            sk.log_contains("cannot upload archived WAL of timeline") for sk in env.safekeepers
        )

    wait_until(noticed, timeout_s=60)
    assert backup_lsn(env) == before, "a segment that is not in the bucket counts as archived"
    # Whoever archives dies in the outage; the WAL is still with the others, and with itself.
    for safekeeper in env.safekeepers:
        safekeeper.kill()
        safekeeper.start()
        ledger.wait_for_progress()
    end = endpoint.flush_lsn()
    for safekeeper in env.safekeepers:
        names = safekeeper.segments(tenant, timeline)
        assert f"{'0' * 7}1{'0' * 15}1" in names, "WAL left the disk without being archived"
    s3_store.gate.open()

    def archived() -> None:
        assert backup_lsn(env) >= end.segment_start()

    wait_until(archived, timeout_s=60)
    ledger.stop()
    check_archive(env, s3_store, end)
    endpoint.stop()
    endpoint.start()
    ledger.verify()


def check_archive(env: NeonEnv, store: S3Store, end: Lsn) -> None:
    """Whole segments below `end` are archived, byte for byte as a safekeeper has them."""
    tenant, timeline = env.initial_tenant, env.initial_timeline
    sizes = store.keys("safekeepers", prefix=f"{tenant}/{timeline}/")
    whole = sorted(key for key in sizes if not key.endswith(".partial"))
    assert len(whole) >= 2
    assert all(sizes[key] == WAL_SEGMENT_SIZE for key in whole)
    compared = 0
    for key in whole:
        file = env.safekeepers[0].timeline_dir(tenant, timeline) / key.rsplit("/", 1)[1]
        if file.exists():
            archived = hashlib.sha256(store.read(key, "safekeepers")).digest()
            assert archived == hashlib.sha256(file.read_bytes()).digest(), key
            compared += 1
    assert compared > 0


def test_offloading_waits_for_the_bucket_and_so_does_the_way_back(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    env = with_bucket(
        neon_env_builder, s3_store,
        "--enable-offload", "--delete-offloaded-wal", "--partial-backup-timeout=50ms",
        "--control-file-save-interval=1s",
    )
    tenant, timeline = env.initial_tenant, env.initial_timeline
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    endpoint.stop()
    end = max(sk.http().commit_lsn(tenant, timeline) for sk in env.safekeepers)
    env.pageserver.http().checkpoint_and_upload(tenant, timeline, end)

    def stored_everywhere() -> None:
        for safekeeper in env.safekeepers:
            status = safekeeper.http().timeline_status(tenant, timeline)
            assert Lsn(status["remote_consistent_lsn"]) >= end

    wait_until(stored_everywhere, timeout_s=60)
    # It would look for more, and bring the timeline back.
    env.pageserver.stop()

    def offloaded() -> None:
        for safekeeper in env.safekeepers:
            assert safekeeper.control_file(tenant, timeline)["eviction_state"] != "Present"
            assert not safekeeper.segments(tenant, timeline)

    wait_until(offloaded, timeout_s=60)
    start = Lsn(env.safekeepers[0].http().timeline_status(tenant, timeline)["timeline_start_lsn"])
    s3_store.gate.answer_with(503)
    for safekeeper in env.safekeepers:
        # Asked for WAL that cannot be had, it says so, and stays as it is.
        with pytest.raises(ApiException) as refused:
            safekeeper.http().digest(tenant, timeline, start, end)
        assert refused.value.status_code >= 500
        assert safekeeper.http().flush_lsn(tenant, timeline) >= end
    s3_store.gate.open()
    digests = {sk.http().digest(tenant, timeline, start, end) for sk in env.safekeepers}
    assert len(digests) == 1, "other bytes came back"
    wait_until(offloaded, timeout_s=60)
    env.pageserver.start()
    # And a compute that writes brings the timeline back for good.
    endpoint.start()
    endpoint.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
    assert endpoint.value("SELECT count(*) FROM t") == 2000
