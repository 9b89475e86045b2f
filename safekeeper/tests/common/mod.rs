//! A safekeeper in this process, a proposer that does what a test says, and WAL of a stock server.

// Every test binary uses a part of it.
#![allow(unused)]

pub mod certificates;
pub mod crafted;
pub mod proposer;
pub mod stock;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use clap::Parser;
use postgres_client::{ClientTls, ConnectOptions};
use pq_proto::WalSenderMessage;
use safekeeper::config::Options;
use safekeeper::service::{AuthKeys, Listeners, Service};
use safekeeper_api::client::Client;
use safekeeper_api::models::TimelineStatus;
use storage_broker::server::{ChannelSizes, ServerOptions};
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};

/// Nobody listens there.
const NO_BROKER: &str = "http://127.0.0.1:1";

pub fn new_ttid() -> TenantTimelineId {
    TenantTimelineId::new(TenantId::generate(), TimelineId::generate())
}

/// A safekeeper on free ports, with a data directory that goes away with it.
pub struct TestSafekeeper {
    dir: tempfile::TempDir,
    arguments: Vec<String>,
    service: Option<Service>,
    pub pg: SocketAddr,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    /// How clients of the WAL service connect.
    tls: ClientTls,
}

impl TestSafekeeper {
    pub fn start() -> Self {
        Self::start_with(1, NO_BROKER, &[])
    }

    pub fn start_with(id: u64, broker: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["safekeeper".to_owned(), format!("--id={id}")];
        arguments.push(format!("--broker-endpoint={broker}"));
        arguments
            .extend(["--listen-pg=127.0.0.1:0", "--listen-http=127.0.0.1:0"].map(String::from));
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        Self::start_in(tempfile::tempdir().unwrap(), arguments, AuthKeys::default())
    }

    /// One that checks tokens.
    pub fn start_with_keys(keys: AuthKeys) -> Self {
        let arguments = ["--id=1", "--listen-pg=127.0.0.1:0", "--listen-http=127.0.0.1:0"];
        let broker = format!("--broker-endpoint={NO_BROKER}");
        let arguments = std::iter::once("safekeeper").chain(arguments).chain([broker.as_str()]);
        let arguments = arguments.map(String::from).collect();
        Self::start_in(tempfile::tempdir().unwrap(), arguments, keys)
    }

    fn start_in(dir: tempfile::TempDir, arguments: Vec<String>, keys: AuthKeys) -> Self {
        let options = Options::parse_from(&arguments);
        let id = options.id.unwrap();
        let workdir = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let mut config = options.into_config(id, workdir).unwrap();
        let listeners = Listeners::bind(&mut config).unwrap();
        let pg = config.listen_pg.parse().unwrap();
        let http = config.listen_http.parse().unwrap();
        let https = config.listen_https.as_ref().map(|address| address.parse().unwrap());
        let tls = config.tls.peers();
        let service = Service::start(config, keys, listeners).unwrap();
        Self { dir, arguments, service: Some(service), pg, http, https, tls }
    }

    /// Ends this one without an orderly stop of its sessions and starts another on a copy of
    /// its files, as after a crash.
    pub async fn crash_and_restart(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        let arguments = self.arguments.clone();
        self.stop().await;
        Self::start_in(copy, arguments, AuthKeys::default())
    }

    pub async fn stop(mut self) {
        self.service.take().unwrap().stop().await;
    }

    pub fn timeline_dir(&self, ttid: TenantTimelineId) -> Utf8PathBuf {
        let dir = Utf8PathBuf::from_path_buf(self.dir.path().to_owned()).unwrap();
        dir.join(ttid.tenant_id.to_string()).join(ttid.timeline_id.to_string())
    }

    /// The control file on disk.
    pub fn control_file(&self, ttid: TenantTimelineId) -> wal_quorum::control_file::ControlFile {
        safekeeper::control_store::read(&self.timeline_dir(ttid).join("safekeeper.control"))
            .unwrap()
    }

    /// Names of the segment files, in order.
    pub fn segments(&self, ttid: TenantTimelineId) -> Vec<String> {
        let entries = std::fs::read_dir(self.timeline_dir(ttid)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> =
            names.filter(|name| !name.starts_with("safekeeper.control")).collect();
        names.sort();
        names
    }

    pub fn http_client(&self) -> Client {
        Client::new(reqwest::Client::new(), &format!("http://{}", self.http), None)
    }

    pub async fn status(&self, ttid: TenantTimelineId) -> TimelineStatus {
        self.http_client().timeline_status(ttid.tenant_id, ttid.timeline_id).await.unwrap()
    }

    /// How a client of the WAL service connects.
    pub fn connect_options(&self, ttid: TenantTimelineId, appname: &str) -> ConnectOptions {
        ConnectOptions {
            application_name: Some(appname.to_owned()),
            options: options(ttid),
            tls: self.tls.clone(),
            ..ConnectOptions::new(self.pg.ip().to_string(), self.pg.port())
        }
    }
}

fn options(ttid: TenantTimelineId) -> Vec<String> {
    vec![
        "-c".to_owned(),
        format!("tenant_id={}", ttid.tenant_id),
        format!("timeline_id={}", ttid.timeline_id),
    ]
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Reads committed WAL from `start` to `end` as a pageserver does.
pub async fn read_wal(
    safekeeper: &TestSafekeeper,
    ttid: TenantTimelineId,
    start: Lsn,
    end: Lsn,
) -> Vec<u8> {
    let client = safekeeper.connect_options(ttid, "pageserver").connect().await.unwrap();
    let command = format!("START_REPLICATION PHYSICAL {start}");
    let mut stream = client.copy_both(&command).await.unwrap();
    let mut bytes = Vec::new();
    while start + (bytes.len() as u64) < end {
        let payload = stream.recv().await.unwrap().expect("more WAL is to come");
        if let WalSenderMessage::XLogData(data) = WalSenderMessage::parse(payload).unwrap() {
            bytes.extend_from_slice(&data.data);
        }
    }
    bytes
}

/// A broker in this process; its endpoint.
pub async fn start_broker() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let options = ServerOptions {
        channel_sizes: ChannelSizes::default(),
        http2_keepalive_interval: Duration::from_secs(5),
    };
    tokio::spawn(storage_broker::server::run(listener, options));
    endpoint
}

/// Polls until `condition` holds; panics with `what` after a minute.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
