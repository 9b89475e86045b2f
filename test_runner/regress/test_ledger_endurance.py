"""Minutes of writing while safekeepers die in turn: no acknowledged row is ever missing."""

from __future__ import annotations

import os
import time

import pytest
from fixtures.common import Lsn, log, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import NeonEnv

# How long the load lasts, in seconds; set the variable for a short run.
DURATION_S = int(os.environ.get("LEDGER_SECONDS", "600"))


def all_equal(env: NeonEnv) -> None:
    """Every safekeeper has the same WAL."""
    tenant, timeline = env.initial_tenant, env.initial_timeline
    statuses = [sk.http().timeline_status(tenant, timeline) for sk in env.safekeepers]
    ends = {status["flush_lsn"] for status in statuses}
    assert len(ends) == 1, ends
    end = Lsn(ends.pop())
    # WAL that nobody needs any more is trimmed, by each at its own time.
    start = max(Lsn(status["timeline_start_lsn"]) for status in statuses)
    start = max(start, end.segment_start())
    digests = {sk.http().digest(tenant, timeline, start, end) for sk in env.safekeepers}
    assert len(digests) == 1, "the WAL of the safekeepers differs"


@pytest.mark.slow
@pytest.mark.timeout(DURATION_S + 300)
def test_two_of_three_safekeepers_die_in_turn_for_minutes(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint()
    ledger = Ledger(endpoint).create().start()
    ledger.wait_for_progress()
    deadline = time.monotonic() + DURATION_S
    rounds = quorums_lost = 0
    while time.monotonic() < deadline:
        first = env.safekeepers[rounds % 3]
        second = env.safekeepers[(rounds + 1) % 3]
        first.kill()
        # The other two go on.
        ledger.wait_for_progress()
        if rounds % 2:
            first.start()
            ledger.wait_for_progress()
            second.kill()
            ledger.wait_for_progress()
        else:
            # Without a quorum nothing is acknowledged, whoever is left.
            second.kill()
            quorums_lost += 1
            first.start()
        second.start()
        ledger.wait_for_progress()
        rounds += 1
    ledger.stop()
    log.info(
        "%d rounds, %d of them without a quorum, %d rows acknowledged in %d s",
        rounds, quorums_lost, ledger.count(), DURATION_S,
    )
    ledger.verify()
    # While the proposer runs it fills whoever lags.
    wait_until(lambda: all_equal(env), timeout_s=60)
    endpoint.stop()
    # From what the safekeepers agree on, and the pageserver made of it.
    ledger.verify(endpoint.start())
