"""Crashes at chosen places."""

from __future__ import annotations

import pytest
import requests
from fixtures.common import wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv, pid_is_alive
from fixtures.pageserver_http import ApiException


def test_unknown_actions_are_refused(neon_env: NeonEnv) -> None:
    for http in (neon_env.pageserver.http(), neon_env.safekeepers[0].http()):
        with pytest.raises(ApiException) as refused:
            http.configure_failpoints(("some-point", "dance"))
        assert refused.value.status_code == 400


def test_pageserver_exits_in_the_middle_of_a_flush(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    http, pid = env.pageserver.http(), env.pageserver.pid
    http.configure_failpoints(("flush-frozen-exit", "exit"))

    def exited() -> None:
        try:
            # With nothing received since the last flush there is nothing to flush.
            http.timeline_checkpoint(env.initial_tenant, env.initial_timeline)
        except (ApiException, requests.RequestException):
            pass
        assert not pid_is_alive(pid)

    wait_until(exited)
    env.pageserver.start()
    ledger.wait_for_progress()
    ledger.stop()
    endpoint.stop()
    endpoint.start()
    ledger.verify()


def test_a_segment_that_cannot_be_made_stops_only_that_safekeeper(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    env.safekeepers[0].http().configure_failpoints(("sk-write-zeroes", "return"))
    endpoint.sql("SELECT pg_switch_wal()")
    ledger.wait_for_progress()
    assert env.safekeepers[0].log_contains("sk-write-zeroes")
    env.safekeepers[0].http().configure_failpoints(("sk-write-zeroes", "off"))
    ledger.wait_for_progress()
    ledger.stop()
    endpoint.stop()
    endpoint.start()
    ledger.verify()
