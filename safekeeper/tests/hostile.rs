//! Wrong and broken clients: each gets a clear answer, and the others are still served.

mod common;

use common::proposer::{MiniProposer, greeting, open};
use common::{TestSafekeeper, new_ttid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::TermHistory;
use wal_quorum::messages::{ProposerGreeting, ProposerMessage};

/// A greeting that the safekeeper must refuse, on a connection for `ttid`.
async fn refused_greeting(
    safekeeper: &TestSafekeeper,
    ttid: TenantTimelineId,
    change: impl FnOnce(&mut ProposerGreeting),
) -> String {
    let mut stream = open(safekeeper, ttid).await;
    let mut message = greeting(ttid, 7);
    change(&mut message);
    stream.send(&ProposerMessage::Greeting(message).encode()).await.unwrap();
    stream.recv().await.unwrap_err().to_string()
}

async fn assert_still_serving(safekeeper: &TestSafekeeper) {
    safekeeper.http_client().status().await.unwrap();
    MiniProposer::connect(safekeeper, new_ttid(), 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_ports_disturbs_nobody() {
    let safekeeper = TestSafekeeper::start();
    let garbage: &[&[u8]] =
        &[b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\x08", b"", b"x"];
    for address in [safekeeper.pg, safekeeper.http] {
        for bytes in garbage {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    }
    assert_still_serving(&safekeeper).await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_does_not_fit_is_refused_by_name() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    MiniProposer::connect(&safekeeper, ttid, 7).await;
    let other = new_ttid();
    let error = refused_greeting(&safekeeper, ttid, |g| g.tenant_id = other.tenant_id).await;
    assert!(error.contains(&other.tenant_id.to_string()), "{error}");
    let error = refused_greeting(&safekeeper, ttid, |g| g.timeline_id = other.timeline_id).await;
    assert!(error.contains(&other.timeline_id.to_string()), "{error}");
    let error = refused_greeting(&safekeeper, ttid, |g| g.pg_version = 160_003).await;
    assert!(error.contains("PostgreSQL major version is 16, here it is 15"), "{error}");
    let error = refused_greeting(&safekeeper, ttid, |g| g.wal_seg_size = 1 << 20).await;
    assert!(error.contains("wal_seg_size is 1048576"), "{error}");
    let error = refused_greeting(&safekeeper, new_ttid(), |g| g.pg_version = 90_600).await;
    assert!(error.contains("Unsupported postgres version: 9"), "{error}");
    assert_still_serving(&safekeeper).await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_end_only_their_session() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let valid = ProposerMessage::Greeting(greeting(ttid, 7)).encode();
    let mut wrong_version = valid.to_vec();
    wrong_version[8] = 9;
    for (payload, expected) in [
        (b"zzzzzzzz".to_vec(), "unknown proposer-acceptor message tag"),
        (valid[..40].to_vec(), "cannot read ProposerGreeting"),
        (wrong_version, "protocol version 9 is not supported"),
        (Vec::new(), "cannot read proposer message"),
    ] {
        let mut stream = open(&safekeeper, ttid).await;
        stream.send(&payload).await.unwrap();
        let error = stream.recv().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_still_serving(&safekeeper).await;
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_without_an_announcement_is_refused() {
    let safekeeper = TestSafekeeper::start();
    let (mut proposer, _) = MiniProposer::connect(&safekeeper, new_ttid(), 7).await;
    proposer.lie_about_term(5);
    proposer.send_append(Lsn(0x100_0028), b"wal", Lsn(0), Lsn(0)).await;
    let error = proposer.error().await;
    assert!(error.contains("got AppendRequest before ProposerElected"), "{error}");
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_leader_learns_of_the_new_term() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let start = Lsn(0x100_0028);
    let mut old = MiniProposer::lead_from(&safekeeper, ttid, 7, start).await;
    let (mut new, greeting) = MiniProposer::connect(&safekeeper, ttid, 7).await;
    assert_eq!(greeting.term, 1);
    assert!(new.vote(2).await.vote_given);
    let response = old.append(start, &[], Lsn(0)).await;
    assert_eq!((response.term, response.flush_lsn), (2, Lsn(0)));
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_that_does_not_decode_ends_the_session_and_can_be_replaced() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let start = Lsn(0x100_0028);
    let mut bad = MiniProposer::lead_from(&safekeeper, ttid, 7, start).await;
    bad.send_append(start, &[5, 0, 0, 0, 0, 0, 0, 0], Lsn(0), start).await;
    let error = bad.error().await;
    assert!(error.contains("does not decode"), "{error}");
    let (mut next, _) = MiniProposer::connect(&safekeeper, ttid, 7).await;
    assert_eq!(next.vote(2).await.flush_lsn, start);
    next.announce(TermHistory::from([(1, start), (2, start)]), start, start).await;
    assert_eq!(next.append(start, &[], start).await.flush_lsn, start);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_ids_or_sense_are_refused_and_the_session_goes_on() {
    let safekeeper = TestSafekeeper::start();
    let mut options = safekeeper.connect_options(new_ttid(), "test");
    options.options.clear();
    let mut client = options.connect().await.unwrap();
    let error = client.simple_query("IDENTIFY_SYSTEM").await.unwrap_err().to_string();
    assert!(error.contains("tenantid is required"), "{error}");
    let error = client.simple_query("select 1").await.unwrap_err().to_string();
    assert!(error.contains("unsupported command"), "{error}");

    let ttid = new_ttid();
    let mut client = safekeeper.connect_options(ttid, "test").connect().await.unwrap();
    let error = client.simple_query("IDENTIFY_SYSTEM").await.unwrap_err().to_string();
    assert!(error.contains("was not found in global map"), "{error}");
    assert!(client.simple_query("TIMELINE_STATUS").await.unwrap().is_empty());
    let error = client.simple_query("TIMELINE_HISTORY 2").await.unwrap_err().to_string();
    assert!(error.contains("no timeline history"), "{error}");
    let rows = client.simple_query("SHOW wal_segment_size").await.unwrap();
    assert_eq!(rows[0].get(0), Some("16MB"));
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_id_fails_the_connection() {
    let safekeeper = TestSafekeeper::start();
    let mut options = safekeeper.connect_options(new_ttid(), "test");
    options.options = vec!["-c".to_owned(), "tenant_id=xyz".to_owned()];
    let error = options.connect().await.unwrap_err().to_string();
    assert!(error.contains("invalid tenant id"), "{error}");
    safekeeper.stop().await;
}
