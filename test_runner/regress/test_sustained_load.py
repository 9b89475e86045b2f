"""What must hold while writes go on and on: replicas stay consistent, lag stays bounded."""

from __future__ import annotations

import time

from fixtures.common import Lsn, log, wait_until
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import Endpoint, NeonEnv

BALANCES = """
    SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
           (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history),
           (SELECT count(*) FROM pgbench_history)
"""
MIB = 1024 * 1024


def consistent_transactions(server: Endpoint) -> int:
    """How many pgbench transactions one snapshot shows; all its sums must agree."""
    accounts, tellers, branches, history, transactions = server.sql(BALANCES)[0]
    assert accounts == tellers == branches == (history or 0)
    return int(transactions)


def pageserver_lag_bytes(endpoint: Endpoint) -> int:
    status = endpoint.status()
    return Lsn(status["wal_end_lsn"]) - Lsn(status["pageserver_received_lsn"])


def test_a_hot_standby_is_consistent_at_every_moment_of_a_load(neon_env: NeonEnv) -> None:
    env = neon_env
    main = env.endpoint("primary")
    env.pg_bin.run("pgbench", "-i", "-s", "2", "-q", main.connstr())
    main.sql("CHECKPOINT")
    load = env.pg_bin.spawn(
        "pgbench", "-c", "4", "-T", "25", "-n", main.connstr(), stderr=-3, stdout=-3
    )
    # Booted in the middle of the load, with transactions in flight at its start.
    standby = env.endpoint("standby", hot_standby=True, config=["hot_standby_feedback=on"])
    seen: list[int] = []
    while load.poll() is None:
        seen.append(consistent_transactions(standby))
        if len(seen) % 3 == 0:
            # VACUUM must not remove what a query of the standby still sees.
            main.sql("VACUUM pgbench_branches", "VACUUM pgbench_tellers")
        time.sleep(0.2)
    assert load.returncode == 0
    log.info("snapshots of the standby saw %d to %d transactions", seen[0], seen[-1])
    assert seen == sorted(seen), "the standby went back in time"
    assert len(set(seen)) > 3, "the standby did not follow while the load ran"

    total = consistent_transactions(main)

    def caught_up() -> None:
        assert consistent_transactions(standby) == total

    wait_until(caught_up, timeout_s=60)


def test_backpressure_bounds_the_lag_and_never_stops_commits(neon_env: NeonEnv) -> None:
    env = neon_env
    endpoint = env.endpoint("throttled", config=["max_replication_write_lag=2MB"])
    endpoint.sql("CREATE TABLE filler (writer int, t text)")
    ledger = Ledger(endpoint, writers=4).create().start()
    ledger.wait_for_progress()
    assert endpoint.status()["backpressure_delay_ms"] == 0

    def followed() -> None:
        assert pageserver_lag_bytes(endpoint) < MIB

    # Of a pageserver that was never heard of it is not known how far it is.
    wait_until(followed)
    # One that takes its time over each record falls behind these writers.
    http = env.pageserver.http()
    http.configure_failpoints(("wal-ingest-record-sleep", "return(2)"))
    try:
        def delayed() -> None:
            endpoint.sql("INSERT INTO filler SELECT n, repeat('y', 700) FROM generate_series(1, 500) n")
            assert endpoint.status()["backpressure_delay_ms"] > 0

        wait_until(delayed, timeout_s=60)
        worst_lag_bytes = 0
        for _ in range(5):
            # Slow, and visibly so, but every writer gets on.
            ledger.wait_for_progress(rows=4, timeout_s=60)
            worst_lag_bytes = max(worst_lag_bytes, pageserver_lag_bytes(endpoint))
        log.info("the pageserver was at most %d bytes behind", worst_lag_bytes)
        assert 2 * MIB < worst_lag_bytes < 16 * MIB
    finally:
        http.configure_failpoints(("wal-ingest-record-sleep", "off"))

    def unthrottled() -> None:
        assert endpoint.status()["backpressure_delay_ms"] == 0

    wait_until(unthrottled, timeout_s=60)
    ledger.wait_for_progress(rows=200)
    ledger.stop()
    endpoint.stop()
    endpoint.start()
    ledger.verify()
