"""Objects in a bucket: what works on a directory works there, and an outage loses nothing."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timezone

import pytest
from fixtures.common import PortDistributor, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnvBuilder, table_digests
from fixtures.pageserver_http import ApiException
from fixtures.remote_storage import MotoServer, S3Store, Store, check_that_indexed_objects_exist


def test_a_cluster_lives_in_its_bucket(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    neon_env_builder.store = s3_store
    neon_env_builder.safekeepers_remote_storage = True
    neon_env_builder.tenant_config = {"checkpoint_distance": "4194304"}
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", endpoint.connstr())
    env.pg_bin.run("pgbench", "-c", "2", "-t", "300", "-n", endpoint.connstr())
    endpoint.sql("SELECT pg_switch_wal()")
    endpoint.sql("CREATE TABLE after_the_segment AS SELECT 1 AS n")
    first_segment = f"{env.initial_tenant}/{env.initial_timeline}/000000010000000000000001"

    def archived() -> None:
        assert s3_store.keys("safekeepers")[first_segment] == 16 * 1024 * 1024

    wait_until(archived, timeout_s=60)
    digests, lsn = table_digests(endpoint), endpoint.flush_lsn()
    endpoint.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    assert check_that_indexed_objects_exist(s3_store) > 1
    assert not env.remote_dir.exists() or not list(env.remote_dir.iterdir())

    # Nothing but the bucket is left of the pageserver's data.
    env.pageserver.stop()
    shutil.rmtree(env.pageserver.tenant_dir(env.initial_tenant) / "timelines")
    env.pageserver.start()
    assert table_digests(env.endpoint("rebuilt")) == digests
    requests = http.metric_samples("remote_storage_s3_request_seconds_count", request_type="get_object")
    assert sum(requests) > 1


def test_an_unreachable_bucket_loses_nothing(
    neon_env_builder: NeonEnvBuilder, s3_store: S3Store
) -> None:
    neon_env_builder.store = s3_store
    neon_env_builder.safekeepers_remote_storage = True
    neon_env_builder.tenant_config = {"checkpoint_distance": "262144"}
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    s3_store.gate.shut()
    ledger.wait_for_progress(200)
    env.pageserver.http().timeline_checkpoint(
        env.initial_tenant, env.initial_timeline, wait_until_uploaded="false"
    )

    def noticed() -> None:
        assert env.pageserver.log_contains("failed to perform remote task UploadLayer")

    wait_until(noticed)
    # A crash in the outage: what was not stored comes from the safekeepers again.
    env.pageserver.kill()
    env.pageserver.start()
    ledger.wait_for_progress()
    s3_store.gate.open()
    ledger.wait_for_progress()
    ledger.stop()
    http = env.pageserver.http()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, endpoint.flush_lsn())
    assert check_that_indexed_objects_exist(s3_store) > 1
    endpoint.stop()
    endpoint.start()
    ledger.verify()


def test_a_storm_of_restarts_with_failing_operations_loses_nothing(
    neon_env_builder: NeonEnvBuilder, store: Store
) -> None:
    neon_env_builder.store = store
    neon_env_builder.pageserver_config = {"test_remote_failures": 2}
    neon_env_builder.tenant_config = {
        "checkpoint_distance": "262144",
        "compaction_target_size": "262144",
        "compaction_threshold": "2",
        "compaction_period": "1s",
    }
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    http = env.pageserver.http()
    for crash in range(5):
        ledger.wait_for_progress(100)
        if crash % 2:
            http.timeline_checkpoint(env.initial_tenant, env.initial_timeline)
            http.timeline_compact(env.initial_tenant, env.initial_timeline)
        env.pageserver.kill()
        check_that_indexed_objects_exist(store)
        env.pageserver.start()
    ledger.wait_for_progress()
    ledger.stop()
    http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, endpoint.flush_lsn())
    endpoint.stop()

    # And once more from the store alone, every download failing twice.
    env.pageserver.stop()
    shutil.rmtree(env.pageserver.tenant_dir(env.initial_tenant) / "timelines")
    env.pageserver.start()
    endpoint.start()
    ledger.verify()
    for text in (
        "failed to perform remote task UploadLayer",
        "failed to perform remote task UploadMetadata",
        "simulated failure of remote operation Upload",
        "simulated failure of remote operation Download",
        "failed, will retry",
        "retries",
    ):
        assert env.pageserver.log_contains(text), text
    assert check_that_indexed_objects_exist(store) > 1


def test_a_deleted_tenant_comes_back_from_a_bucket_with_versions(
    neon_env_builder: NeonEnvBuilder, moto_server: MotoServer, port_distributor: PortDistributor
) -> None:
    moto_server.client().create_bucket(Bucket="with-versions")
    store = S3Store(moto_server, port_distributor, "time-travel", bucket="with-versions")
    store.keep_versions()
    neon_env_builder.store = store
    env = neon_env_builder.init_start()
    tenant, http = env.initial_tenant, env.pageserver.http()
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
    digests, lsn = table_digests(endpoint), endpoint.flush_lsn()
    endpoint.stop()
    http.checkpoint_and_upload(tenant, env.initial_timeline, lsn)

    def now() -> str:
        """The store's clock has whole seconds: what comes next is in another one."""
        time.sleep(2)
        text = datetime.now(timezone.utc).isoformat(timespec="seconds")
        time.sleep(2)
        return text

    travel_to = now()
    with pytest.raises(ApiException, match="already attached"):
        http.time_travel(tenant, travel_to, now())
    http.call("DELETE", f"/v1/tenant/{tenant}")

    def deleted() -> None:
        assert not store.keys()
        with pytest.raises(ApiException):
            http.tenant_status(tenant)

    wait_until(deleted)
    done_if_after = now()
    for _ in range(2):
        http.time_travel(tenant, travel_to, done_if_after)
    assert check_that_indexed_objects_exist(store) > 0
    http.location_config(tenant, {"mode": "AttachedSingle", "generation": 2, "tenant_conf": {}})
    endpoint.start()
    assert table_digests(endpoint) == digests
