//! A safekeeper that misses WAL fetches it from a peer when no compute brings it.

mod common;

use common::crafted::{START, SYSTEM_ID, wal};
use common::proposer::MiniProposer;
use common::{TestSafekeeper, eventually, new_ttid, read_wal, start_broker};
use utils::Lsn;
use wal_quorum::TermHistory;

const RECOVERY: [&str; 1] = ["--peer-recovery=true"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_safekeeper_catches_up_without_a_compute() {
    let broker = start_broker().await;
    let ahead = TestSafekeeper::start_with(1, &broker, &RECOVERY);
    let behind = TestSafekeeper::start_with(2, &broker, &RECOVERY);
    let ttid = new_ttid();
    let bytes = wal(START, 3_000_000, b'a');
    let middle = common::crafted::wal(START, 1_000_000, b'a').len();
    let mut leader = MiniProposer::lead_from(&ahead, ttid, SYSTEM_ID, START).await;
    let mut same = MiniProposer::lead_from(&behind, ttid, SYSTEM_ID, START).await;
    same.push(START, &bytes[..middle]).await;
    let end = leader.push(START, &bytes).await;
    // While a compute streams nothing is fetched: it would bring everything itself.
    assert_eq!(behind.status(ttid).await.flush_lsn, START + middle as u64);
    drop((leader, same));
    eventually("the WAL is there and known to be committed", async || {
        let status = behind.status(ttid).await;
        status.flush_lsn == end && status.commit_lsn == end
    })
    .await;
    assert!(read_wal(&behind, ttid, START, end).await == bytes);
    eventually("recovery ends", async || behind.status(ttid).await.walreceivers.is_empty()).await;
    ahead.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_lost_the_election_is_replaced() {
    let broker = start_broker().await;
    let winner = TestSafekeeper::start_with(1, &broker, &RECOVERY);
    let loser = TestSafekeeper::start_with(2, &broker, &RECOVERY);
    let ttid = new_ttid();
    let common_wal = wal(START, 100_000, b'a');
    let mut first = MiniProposer::lead_from(&winner, ttid, SYSTEM_ID, START).await;
    let mut same = MiniProposer::lead_from(&loser, ttid, SYSTEM_ID, START).await;
    let fork = first.push(START, &common_wal).await;
    same.push(START, &common_wal).await;
    // Never committed: only one has it.
    let lost = wal(fork, 200_000, b'l');
    same.append(fork, &lost[..100_000], Lsn(0)).await;
    drop((first, same));
    let (mut second, _) = MiniProposer::connect(&winner, ttid, SYSTEM_ID).await;
    second.vote(2).await;
    second.announce(TermHistory::from([(1, START), (2, fork)]), fork, START).await;
    let won = wal(fork, 300_000, b'w');
    let end = second.push(fork, &won).await;
    eventually("the loser has the winner's WAL", async || {
        let status = loser.status(ttid).await;
        status.flush_lsn == end && status.acceptor_state.epoch == 2 && status.commit_lsn == end
    })
    .await;
    assert!(read_wal(&loser, ttid, fork, end).await == won);
    winner.stop().await;
    loser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compute_that_comes_back_during_recovery_goes_on() {
    let broker = start_broker().await;
    let ahead = TestSafekeeper::start_with(1, &broker, &RECOVERY);
    let behind = TestSafekeeper::start_with(2, &broker, &RECOVERY);
    let ttid = new_ttid();
    let bytes = wal(START, 20_000_000, b'a');
    let mut leader = MiniProposer::lead_from(&ahead, ttid, SYSTEM_ID, START).await;
    let same = MiniProposer::lead_from(&behind, ttid, SYSTEM_ID, START).await;
    drop(same);
    let end = leader.push(START, &bytes).await;
    eventually("recovery has begun", async || behind.status(ttid).await.flush_lsn > START).await;
    // The same leader reconnects in its own term, and brings what comes next.
    let next = wal(end, 100_000, b'n');
    let new_end = leader.push(end, &next).await;
    let mut position = loop {
        let (mut proposer, _) = MiniProposer::connect(&behind, ttid, SYSTEM_ID).await;
        let flushed = proposer.vote(1).await.flush_lsn;
        proposer.announce(TermHistory::from([(1, START)]), flushed, START).await;
        proposer.send_append(flushed, &[], Lsn(0), START).await;
        // An attempt may be refused because recovery flushed more in between.
        if proposer.answers_append().await {
            break (proposer, flushed);
        }
    };
    let all = [bytes, next].concat();
    let rest = &all[(position.1 - START) as usize..];
    position.0.push(position.1, rest).await;
    assert!(read_wal(&behind, ttid, START, new_end).await == all);
    ahead.stop().await;
    behind.stop().await;
}
