//! Safekeepers that encrypt, towards clients and among each other.

mod common;

use common::certificates::Certificates;
use common::crafted::{START, SYSTEM_ID, wal};
use common::proposer::MiniProposer;
use common::{TestSafekeeper, eventually, new_ttid, read_wal, start_broker};
use postgres_client::{ClientTls, ConnectOptions, Error, SslMode};
use safekeeper_api::client::Client;
use safekeeper_api::models::PullTimelineRequest;

fn start(certificates: &Certificates, id: u64, broker: &str, more: &[&str]) -> TestSafekeeper {
    let options = certificates.options();
    let options: Vec<&str> =
        options.iter().map(String::as_str).chain(more.iter().copied()).collect();
    TestSafekeeper::start_with(id, broker, &options)
}

const NO_BROKER: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn wal_is_pushed_and_read_over_tls_and_not_without() {
    let certificates = Certificates::new();
    let safekeeper = start(&certificates, 1, NO_BROKER, &[]);
    let ttid = new_ttid();
    let bytes = wal(START, 1_000_000, b'a');
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    let end = proposer.push(START, &bytes).await;
    assert!(read_wal(&safekeeper, ttid, START, end).await == bytes);

    let options = safekeeper.connect_options(ttid, "test");
    assert_eq!(options.tls.mode, SslMode::VerifyFull);
    let plain = ConnectOptions { tls: ClientTls::default(), ..options.clone() };
    let error = plain.connect().await.unwrap_err();
    assert_eq!(error.server_report().unwrap().message, "must connect with TLS");
    let strangers = Certificates::new();
    let tls = ClientTls { root_cert: Some(strangers.ca_file()), ..options.tls.clone() };
    let error = ConnectOptions { tls, ..options }.connect().await.unwrap_err();
    assert!(matches!(error, Error::TlsHandshake { .. }), "{error}");
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_followed_over_tls() {
    let certificates = Certificates::new();
    let broker = start_broker().await;
    let recovery = ["--peer-recovery=true"];
    let ahead = start(&certificates, 1, &broker, &recovery);
    let behind = start(&certificates, 2, &broker, &recovery);
    let ttid = new_ttid();
    let bytes = wal(START, 1_000_000, b'a');
    let mut leader = MiniProposer::lead_from(&ahead, ttid, SYSTEM_ID, START).await;
    let same = MiniProposer::lead_from(&behind, ttid, SYSTEM_ID, START).await;
    let end = leader.push(START, &bytes).await;
    drop((leader, same));
    eventually("the WAL is there", async || behind.status(ttid).await.flush_lsn == end).await;
    ahead.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_pulled_over_https_from_a_trusted_safekeeper_only() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let donor = start(&certificates, 1, NO_BROKER, &[]);
    let target = start(&certificates, 2, NO_BROKER, &[]);
    let other = start(&strangers, 3, NO_BROKER, &[]);
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&donor, ttid, SYSTEM_ID, START).await;
    let end = proposer.push(START, &wal(START, 500_000, b'a')).await;
    let request = PullTimelineRequest {
        tenant_id: ttid.tenant_id,
        timeline_id: ttid.timeline_id,
        http_hosts: vec![format!("https://{}", donor.https.unwrap())],
    };
    assert!(other.http_client().pull_timeline(&request).await.is_err(), "it trusts others");
    target.http_client().pull_timeline(&request).await.unwrap();
    assert_eq!(target.status(ttid).await.flush_lsn, end);

    // The same API on both listeners.
    let tls = ClientTls { mode: SslMode::VerifyFull, root_cert: Some(certificates.ca_file()) };
    let http = reqwest::Client::builder().use_preconfigured_tls(tls.config().unwrap());
    let url = format!("https://{}", target.https.unwrap());
    let client = Client::new(http.build().unwrap(), &url, None);
    let status = client.timeline_status(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    assert_eq!(status.flush_lsn, end);
    let untrusting = Client::new(reqwest::Client::new(), &url, None);
    assert!(untrusting.status().await.is_err(), "nobody vouches for the certificate");
    for safekeeper in [donor, target, other] {
        safekeeper.stop().await;
    }
}
