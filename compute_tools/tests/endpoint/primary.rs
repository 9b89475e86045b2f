//! A primary from start to stop.

use std::time::Duration;

use compute_tools::status::ComputeStatus;

use crate::support::endpoint::{Endpoint, eventually};
use crate::support::safekeepers::Safekeeper;

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_runs_commits_and_stops_cleanly() {
    let mut endpoint = Endpoint::primary().await;
    let mut client = endpoint.client().await;
    client.simple_query("create table t as select generate_series(1, 100000) i").await.unwrap();
    let rows = client.simple_query("select pg_current_wal_flush_lsn()").await.unwrap();
    let written: utils::Lsn = rows[0].get(0).unwrap().parse().unwrap();
    assert!(endpoint.board.positions().commit_lsn > endpoint.storage.backup.start_lsn);
    let having = endpoint.storage.safekeepers.iter().filter(|sk| sk.flush_lsn() >= written).count();
    assert!(having >= 2, "a commit returned before a quorum had it");
    let databases = client.simple_query("select 1 from pg_database where datname = 'neondb'");
    assert_eq!(databases.await.unwrap().len(), 1);

    drop(client);
    endpoint.terminate.cancel();
    endpoint.ended().await.unwrap();
    assert_eq!(endpoint.board.status(), ComputeStatus::Terminated);
    let end = endpoint.board.positions().wal_end_lsn;
    for safekeeper in &endpoint.storage.safekeepers {
        assert_eq!(safekeeper.commit_lsn(), end, "everybody knows the shutdown checkpoint");
    }
    let wal: Vec<_> = endpoint.storage.safekeepers.iter().map(Safekeeper::wal).collect();
    assert!(wal.windows(2).all(|pair| pair[0] == pair[1]), "the logs differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safekeeper_that_was_away_is_refilled() {
    let endpoint = Endpoint::primary().await;
    endpoint.storage.safekeepers[2].go_offline();
    let mut client = endpoint.client().await;
    // More than the window of recent WAL holds, so that a donor is needed.
    client
        .simple_query("create table t as select repeat('x', 500) f from generate_series(1, 200000)")
        .await
        .unwrap();
    let wanted = endpoint.storage.safekeepers[0].flush_lsn();
    assert!(wanted > endpoint.storage.safekeepers[2].flush_lsn() + (64 << 20));
    endpoint.storage.safekeepers[2].come_back();
    eventually("the third safekeeper catches up", || {
        endpoint.storage.safekeepers[2].flush_lsn() >= wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_commits_wait_and_a_stop_ends_at_its_deadline() {
    let mut endpoint = Endpoint::primary().await;
    let mut client = endpoint.client().await;
    client.simple_query("create table t(i int)").await.unwrap();
    endpoint.storage.safekeepers[0].go_offline();
    endpoint.storage.safekeepers[1].go_offline();
    let insert = client.simple_query("insert into t values (1)");
    let waited = tokio::time::timeout(Duration::from_millis(1500), insert).await;
    assert!(waited.is_err(), "a commit returned without a quorum");

    endpoint.terminate.cancel();
    let error = endpoint.ended().await.unwrap_err();
    assert!(error.to_string().contains("was stopped hard"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_superseded_dies_at_once() {
    let mut endpoint = Endpoint::primary().await;
    for safekeeper in &endpoint.storage.safekeepers {
        safekeeper.with_acceptor(|acceptor| {
            let request = wal_quorum::messages::VoteRequest {
                term: acceptor.term() + 1,
                proposer_uuid: wal_quorum::messages::ProposerUuid([0; 16]),
            };
            let vote = wal_quorum::messages::ProposerMessage::VoteRequest(request);
            acceptor.process(vote).unwrap();
        });
    }
    let error = endpoint.ended().await.unwrap_err();
    assert!(error.to_string().contains("another primary has taken over"), "{error:#}");
    let pid_file = endpoint.directory.path().join("pgdata/postmaster.pid");
    assert!(!pid_file.exists(), "PostgreSQL is still running");
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_ctl_stop_is_a_clean_end() {
    let mut endpoint = Endpoint::primary().await;
    let pid_file = endpoint.directory.path().join("pgdata/postmaster.pid");
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
    // What `pg_ctl stop -m fast` sends.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    endpoint.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_that_won_the_election_carry_the_wal() {
    let endpoint = Endpoint::primary().await;
    for safekeeper in &endpoint.storage.safekeepers {
        // They agree without an election, so there is only the session of the stream.
        assert_eq!(safekeeper.push_sessions(), 1);
    }
}
