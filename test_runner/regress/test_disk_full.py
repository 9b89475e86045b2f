"""A full disk stops what cannot go on, says so, and loses nothing."""

from __future__ import annotations

import os

import pytest
from fixtures.common import log, wait_until
from fixtures.disk import fill, small_disk
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, table_digests
from fixtures.pageserver_http import ApiException

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


def test_a_pageserver_with_a_full_disk_serves_on_and_catches_up(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    neon_env_builder.tenant_config = {"checkpoint_distance": str(4 * 1024 * 1024)}
    env: NeonEnv = neon_env_builder.init_configs()
    tenants = env.pageserver.workdir / "tenants"
    with small_disk(tenants, size_mib=256):
        env.start()
        env.create_initial_tenant()
        endpoint = env.endpoint()
        endpoint.sql("CREATE TABLE t AS SELECT n, repeat('x', 100) AS f FROM generate_series(1, 1000) n")
        before, digests_before = endpoint.flush_lsn(), table_digests(endpoint)
        http = env.pageserver.http()
        http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, before)
        ledger = Ledger(endpoint).create().start()

        filler = fill(tenants)
        # Commits need the safekeepers only: they go on, far beyond what memory holds back.
        endpoint.sql("INSERT INTO t SELECT n, repeat('y', 100) FROM generate_series(1, 60000) n")
        ledger.wait_for_progress(rows=100)

        def complained() -> None:
            try:
                http.timeline_checkpoint(env.initial_tenant, env.initial_timeline)
            except ApiException as error:
                log.info("checkpoint: %s", error)
            assert env.pageserver.log_contains("No space left on device")

        wait_until(complained, timeout_s=60)
        # What was there before is still served.
        assert http.timeline_detail(env.initial_tenant, env.initial_timeline)["state"] == "Active"
        static = env.endpoint("static", lsn=before)
        assert table_digests(static) == digests_before
        static.stop()

        filler.unlink()
        ledger.wait_for_progress()
        ledger.stop()
        digests, end = table_digests(endpoint), endpoint.flush_lsn()
        http.checkpoint_and_upload(env.initial_tenant, env.initial_timeline, end)
        endpoint.stop(destroy=True)
        again = env.endpoint("again")
        assert table_digests(again) == digests
        ledger.verify(again)
        env.builder.cleanup(keep_data=True)
