"""kill -9 under load loses nothing that was acknowledged."""

from __future__ import annotations

from fixtures.checks import amcheck, check_page_headers
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import Endpoint, NeonEnv


def under_load(env: NeonEnv) -> tuple[Endpoint, Ledger]:
    """An endpoint with pgbench and a ledger writing to it."""
    endpoint = env.endpoint("loaded")
    env.pg_bin.run("pgbench", "-i", "-s", "1", "-q", endpoint.connstr())
    ledger = Ledger(endpoint).create().start()
    env.pg_bin.spawn("pgbench", "-c", "2", "-T", "600", "-n", endpoint.connstr(), stderr=-3, stdout=-3)
    ledger.wait_for_progress()
    return endpoint, ledger


def verify(env: NeonEnv, endpoint: Endpoint, ledger: Ledger) -> None:
    ledger.verify()
    amcheck(env, endpoint)
    assert check_page_headers(endpoint) > 1000
    # What a fresh endpoint gets from storage is the same.
    endpoint.stop()
    fresh = env.endpoint("fresh")
    ledger.verify(fresh)
    amcheck(env, fresh)


def test_compute_is_killed(neon_env: NeonEnv) -> None:
    endpoint, ledger = under_load(neon_env)
    for _ in range(2):
        endpoint.kill()
        endpoint.start()
        ledger.wait_for_progress()
    ledger.stop()
    verify(neon_env, endpoint, ledger)


def test_each_safekeeper_is_killed_in_turn(neon_env: NeonEnv) -> None:
    endpoint, ledger = under_load(neon_env)
    for safekeeper in neon_env.safekeepers:
        safekeeper.kill()
        ledger.wait_for_progress()
        safekeeper.start()
        ledger.wait_for_progress()
    ledger.stop()
    verify(neon_env, endpoint, ledger)


def test_pageserver_is_killed(neon_env: NeonEnv) -> None:
    endpoint, ledger = under_load(neon_env)
    for _ in range(2):
        neon_env.pageserver.kill()
        ledger.wait_for_progress()
        neon_env.pageserver.start()
        ledger.wait_for_progress()
    ledger.stop()
    verify(neon_env, endpoint, ledger)


def test_everything_is_killed_at_once(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint, ledger = under_load(env)
    for _ in range(2):
        endpoint.kill()
        env.pageserver.kill()
        for safekeeper in env.safekeepers:
            safekeeper.kill()
        env.broker.kill()
        env.start()
        endpoint.start()
        ledger.wait_for_progress()
    ledger.stop()
    verify(env, endpoint, ledger)


def test_commits_wait_without_a_quorum_and_go_on_with_it(neon_env: NeonEnv) -> None:
    endpoint, ledger = under_load(neon_env)
    first, second, _ = neon_env.safekeepers
    first.kill()
    second.kill()
    # Commits under way when the quorum died may still return; after that nothing moves.
    settled = ledger.count() + len(neon_env.safekeepers)
    try:
        ledger.wait_for_progress(rows=20, timeout_s=3)
    except AssertionError:
        pass
    assert ledger.count() <= settled, "commits were acknowledged without a quorum"
    first.start()
    ledger.wait_for_progress()
    second.start()
    ledger.stop()
    verify(neon_env, endpoint, ledger)
