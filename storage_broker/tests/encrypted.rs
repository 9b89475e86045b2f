//! The listener that encrypts, beside the plain one.

use std::net::SocketAddr;
use std::time::Duration;

use camino::Utf8Path;
use storage_broker::client::{BrokerClient, connect};
use storage_broker::proto::subscribe_safekeeper_info_request::SubscriptionKey;
use storage_broker::proto::{
    MessageType, SafekeeperTimelineInfo, SubscribeSafekeeperInfoRequest, TypedMessage,
};
use storage_broker::server::{ChannelSizes, Server, ServerOptions};
use tls::authority::{Authority, CertificateFiles};
use tls::{ALPN_HTTP2, ServerTls};
use tokio::net::TcpListener;
use tonic::Code;
use utils::{TenantId, TenantTimelineId, TimelineId};

struct Broker {
    dir: tempfile::TempDir,
    files: CertificateFiles,
    tls: ServerTls,
    plain: SocketAddr,
    encrypted: SocketAddr,
}

impl Broker {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = issue(dir.path(), "127.0.0.1");
        let tls = ServerTls::load(&files.cert_file, &files.key_file, ALPN_HTTP2).unwrap();
        let server = Server::new(ServerOptions {
            channel_sizes: ChannelSizes::default(),
            http2_keepalive_interval: Duration::from_secs(5),
        });
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (plain, encrypted) = (bind().await, bind().await);
        let addresses = [plain.local_addr().unwrap(), encrypted.local_addr().unwrap()];
        tokio::spawn(server.clone().serve(plain));
        tokio::spawn(server.serve_tls(encrypted, tls.clone()));
        let [plain, encrypted] = addresses;
        Self { dir, files, tls, plain, encrypted }
    }

    fn client(&self, endpoint: &str) -> BrokerClient {
        connect(endpoint, Duration::from_secs(5), Some(&self.files.ca_file)).unwrap()
    }

    fn encrypted_client(&self) -> BrokerClient {
        self.client(&format!("https://{}", self.encrypted))
    }
}

fn issue(dir: &std::path::Path, name: &str) -> CertificateFiles {
    let dir = Utf8Path::from_path(dir).unwrap();
    Authority::new("test authority").unwrap().issue(dir, &[name]).unwrap()
}

fn message() -> TypedMessage {
    let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
    TypedMessage {
        r#type: MessageType::SafekeeperTimelineInfo.into(),
        safekeeper_timeline_info: Some(SafekeeperTimelineInfo {
            tenant_timeline_id: Some(ttid.into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_is_published_encrypted_reaches_subscribers_of_both_listeners() {
    let broker = Broker::start().await;
    let (mut encrypted, mut plain) =
        (broker.encrypted_client(), broker.client(&format!("http://{}", broker.plain)));
    let everything =
        SubscribeSafekeeperInfoRequest { subscription_key: Some(SubscriptionKey::All(())) };
    for subscriber in [&mut encrypted.clone(), &mut plain] {
        let stream = subscriber.subscribe_safekeeper_info(everything.clone()).await.unwrap();
        let mut stream = stream.into_inner();
        let sent = message();
        encrypted.publish_one(sent.clone()).await.unwrap();
        assert_eq!(stream.message().await.unwrap(), sent.safekeeper_timeline_info);
    }
}

#[tokio::test]
async fn clients_that_do_not_encrypt_are_told_to() {
    let broker = Broker::start().await;
    let endpoint = format!("http://{}", broker.encrypted);
    let error = broker.client(&endpoint).publish_one(message()).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("must connect with TLS"), "{error}");
    let response = reqwest::get(format!("{endpoint}/status")).await.unwrap();
    assert_eq!(response.status(), reqwest::StatusCode::UPGRADE_REQUIRED);
    assert!(response.text().await.unwrap().contains("https://"));
}

#[tokio::test]
async fn a_broker_that_nobody_vouches_for_is_refused() {
    let (broker, stranger) = (Broker::start().await, Broker::start().await);
    let endpoint = format!("https://{}", stranger.encrypted);
    let error = broker.client(&endpoint).publish_one(message()).await.unwrap_err();
    assert!(format!("{error:?}").contains("invalid peer certificate"), "{error:?}");
    let elsewhere = format!("https://localhost:{}", broker.encrypted.port());
    let error = broker.client(&elsewhere).publish_one(message()).await.unwrap_err();
    assert!(format!("{error:?}").contains("NotValidForName"), "{error:?}");
}

#[tokio::test]
async fn replaced_certificates_count_for_the_next_connection() {
    let broker = Broker::start().await;
    let mut before = broker.encrypted_client();
    before.publish_one(message()).await.unwrap();
    issue(broker.dir.path(), "127.0.0.1");
    assert!(broker.tls.reload().unwrap());
    broker.encrypted_client().publish_one(message()).await.unwrap();
    before.publish_one(message()).await.unwrap();
}

#[tokio::test]
async fn plain_http_is_answered_over_tls_too() {
    let broker = Broker::start().await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&broker.files.ca_file).unwrap());
    let http = reqwest::Client::builder().add_root_certificate(ca.unwrap()).build().unwrap();
    let status = http.get(format!("https://{}/status", broker.encrypted)).send().await.unwrap();
    assert_eq!(status.status(), reqwest::StatusCode::OK);
}
