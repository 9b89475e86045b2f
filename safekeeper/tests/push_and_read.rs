//! WAL of a stock server goes in through `START_WAL_PUSH` and comes out of `START_REPLICATION`.

mod common;

use bytes::BytesMut;
use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::stock::StockWal;
use common::{TestSafekeeper, eventually, new_ttid};
use postgres_client::CopyBoth;
use pq_proto::{PageserverFeedback, StandbyMessage, StandbyReply, WalSenderMessage};
use utils::{Lsn, TenantTimelineId};
use wal_quorum::TermHistory;

async fn replicate(
    safekeeper: &TestSafekeeper,
    ttid: TenantTimelineId,
    appname: &str,
    command: &str,
) -> CopyBoth {
    let client = safekeeper.connect_options(ttid, appname).connect().await.unwrap();
    client.copy_both(command).await.unwrap()
}

/// Reads until `end`; every piece must continue the one before and be cut on a page boundary.
async fn read_until(stream: &mut CopyBoth, start: Lsn, end: Lsn) -> Vec<u8> {
    let mut bytes = Vec::new();
    while start + (bytes.len() as u64) < end {
        let payload = stream.recv().await.unwrap().expect("more WAL is to come");
        if let WalSenderMessage::XLogData(data) = WalSenderMessage::parse(payload).unwrap() {
            assert_eq!(data.start_lsn, start + bytes.len() as u64);
            let cut = data.end_lsn();
            assert!(cut == data.wal_end || cut.page_offset() == 0, "cut inside a page at {cut}");
            bytes.extend_from_slice(&data.data);
        }
    }
    bytes
}

async fn send(stream: &mut CopyBoth, message: StandbyMessage) {
    let mut payload = BytesMut::new();
    message.write(&mut payload);
    stream.send(&payload).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_wal_comes_back_unchanged() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    eventually("the safekeeper knows the leader", async || {
        safekeeper.status(ttid).await.timeline_start_lsn == wal.start
    })
    .await;
    let command = format!("START_REPLICATION PHYSICAL {}", wal.start);
    let mut early = replicate(&safekeeper, ttid, "pageserver", &command).await;
    let end = proposer.push(wal.start, &wal.bytes).await;
    assert_eq!(read_until(&mut early, wal.start, end).await, wal.bytes);

    let status = safekeeper.status(ttid).await;
    assert_eq!((status.flush_lsn, status.commit_lsn), (end, end));
    assert_eq!(status.timeline_start_lsn, wal.start);
    assert_eq!(status.acceptor_state.epoch, status.acceptor_state.term);

    let safekeeper = safekeeper.crash_and_restart().await;
    assert_eq!(safekeeper.status(ttid).await.flush_lsn, end);
    let (mut next, _) = MiniProposer::connect(&safekeeper, ttid, wal.system_id).await;
    let vote = next.vote(2).await;
    assert_eq!((vote.vote_given, vote.flush_lsn), (true, end));
    let history = TermHistory::from([(1, wal.start), (2, end)]);
    next.announce(history, end, wal.start).await;
    next.append(end, &[], end).await;
    let mut late = replicate(&safekeeper, ttid, "replica", &command).await;
    assert_eq!(read_until(&mut late, wal.start, end).await, wal.bytes);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_on_disk_are_those_of_the_server() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let end = proposer.push(wal.start, &wal.bytes).await;
    let (first, last) = (wal.start.segment_number(SEGMENT_SIZE), end.segment_number(SEGMENT_SIZE));
    assert!(last > first + 1, "the test needs a whole segment in the middle");
    let name = postgres_ffi::xlog::segment_file_name(first + 1);
    let ours = std::fs::read(safekeeper.timeline_dir(ttid).join(&name)).unwrap();
    let theirs = std::fs::read(wal.cluster.pgdata().join("pg_wal").join(&name)).unwrap();
    assert!(ours == theirs, "segment {name} differs");
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_the_name_of_a_term_sees_what_is_not_committed() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let piece = &wal.bytes[..100_000];
    let response = proposer.append(wal.start, piece, Lsn(0)).await;
    assert!(response.flush_lsn > wal.start);
    let command = format!("START_REPLICATION PHYSICAL {} (term='1')", wal.start);
    let mut stream = replicate(&safekeeper, ttid, "safekeeper_2", &command).await;
    let read = read_until(&mut stream, wal.start, response.flush_lsn).await;
    assert_eq!(read, piece[..read.len()]);

    let command = format!("START_REPLICATION PHYSICAL {} (term='3')", wal.start);
    let mut refused = replicate(&safekeeper, ttid, "safekeeper_2", &command).await;
    let error = refused.recv().await.unwrap_err().to_string();
    assert!(error.contains("failed to acquire term 3"), "{error}");
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caught_up_pageserver_is_released_when_no_compute_is_left() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let end = proposer.push(wal.start, &wal.bytes).await;
    let command = format!("START_REPLICATION PHYSICAL {}", wal.start);
    let mut stream = replicate(&safekeeper, ttid, "pageserver", &command).await;
    read_until(&mut stream, wal.start, end).await;
    let feedback = PageserverFeedback {
        last_received_lsn: end,
        remote_consistent_lsn: end,
        ..Default::default()
    };
    send(&mut stream, StandbyMessage::PageserverFeedback(feedback)).await;
    // The proposer hears of it, attached to a repetition of the last answer.
    let response = proposer.append_response().await;
    assert_eq!(response.pageserver_feedback, Some(feedback));
    assert_eq!(response.flush_lsn, end);
    eventually("remote_consistent_lsn moves", async || {
        safekeeper.status(ttid).await.remote_consistent_lsn == end
    })
    .await;
    drop(proposer);
    let ended = loop {
        match stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(error) => break error,
        }
    };
    assert_eq!(ended.sqlstate(), Some("00000"));
    assert!(ended.to_string().contains("ending streaming to Some(\"pageserver\")"), "{ended}");
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_standbys_need_reaches_the_proposer() {
    let wal = StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let end = proposer.push_partial(wal.start, &wal.bytes[..50_000]).await;
    let command = format!("START_REPLICATION PHYSICAL {}", wal.start);
    let mut standby = replicate(&safekeeper, ttid, "replica", &command).await;
    let needs = pq_proto::HotStandbyFeedback { xmin: 777, ..Default::default() };
    send(&mut standby, StandbyMessage::HotStandbyFeedback(needs)).await;
    let reply = StandbyReply { apply_lsn: wal.start, ..Default::default() };
    send(&mut standby, StandbyMessage::Reply(reply)).await;
    loop {
        let response = proposer.append(end, &[], end).await;
        if response.hs_feedback.xmin == 777 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    safekeeper.stop().await;
}
