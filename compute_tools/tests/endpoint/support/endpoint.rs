//! One endpoint, run by the same code as the program, against stand-ins for the storage.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use compute_tools::cli::Arguments;
use compute_tools::compute::{self, Controls};
use compute_tools::http::ConfigureRequest;
use compute_tools::spec::ComputeMode;
use compute_tools::status::{ComputeStatus, StatusBoard};
use pg_testing::TestCluster;
use postgres_client::{Client, ConnectOptions};
use postgres_ffi::PgMajor;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utils::{TenantId, TenantTimelineId, TimelineId};

use super::page_service::{self, Backup};
use super::safekeepers::Safekeeper;

/// Waits end here; nothing should take this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What holds one timeline: its initial backup and three safekeepers.
pub struct Storage {
    pub cluster: TestCluster,
    pub backup: Arc<Backup>,
    pub safekeepers: Vec<Safekeeper>,
    ttid: TenantTimelineId,
    page_service_port: u16,
}

impl Storage {
    pub async fn start() -> Arc<Self> {
        let cluster = TestCluster::init();
        let backup = Arc::new(Backup::of_fresh_cluster(&cluster.pgdata()));
        let page_service_port = page_service::serve(backup.clone()).await;
        let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
        let mut safekeepers = Vec::new();
        let major = PgMajor::try_from(cluster.major()).unwrap();
        for id in 1..=3 {
            safekeepers.push(Safekeeper::start(ttid, id, major).await);
        }
        Arc::new(Self { cluster, backup, safekeepers, ttid, page_service_port })
    }

    fn spec(&self, mode: ComputeMode) -> serde_json::Value {
        let addresses: Vec<_> =
            self.safekeepers.iter().map(|sk| format!("127.0.0.1:{}", sk.port)).collect();
        let page_service = self.page_service_port;
        serde_json::json!({
            "tenant_id": self.ttid.tenant_id,
            "timeline_id": self.ttid.timeline_id,
            "pageserver_connstring": format!("postgresql://no_user@127.0.0.1:{page_service}"),
            "safekeeper_connstrings": addresses,
            "mode": mode,
            "cluster": {
                "roles": [{"name": "test"}],
                "databases": [{"name": "neondb", "owner": "test"}],
            },
        })
    }
}

pub struct Endpoint {
    pub storage: Arc<Storage>,
    pub board: Arc<StatusBoard>,
    pub terminate: CancellationToken,
    pub directory: tempfile::TempDir,
    _configure: mpsc::Sender<ConfigureRequest>,
    outcome: JoinHandle<anyhow::Result<()>>,
    port: u16,
}

impl Endpoint {
    /// Starts an endpoint and waits until clients may come.
    pub async fn running(storage: Arc<Storage>, mode: ComputeMode) -> Self {
        let mut endpoint = Self::start(storage, mode);
        let mut status = endpoint.board.subscribe();
        let running = status.wait_for(|status| *status == ComputeStatus::Running);
        tokio::select! {
            outcome = &mut endpoint.outcome => panic!("ended early: {outcome:?}"),
            running = tokio::time::timeout(PATIENCE, running) => { running.unwrap().unwrap(); }
        }
        endpoint
    }

    pub async fn primary() -> Self {
        Self::running(Storage::start().await, ComputeMode::Primary).await
    }

    fn start(storage: Arc<Storage>, mode: ComputeMode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let port = free_port();
        let path = |name: &str| Utf8PathBuf::from_path_buf(directory.path().join(name)).unwrap();
        std::fs::write(path("spec.json"), storage.spec(mode).to_string()).unwrap();
        let bin_dir = storage.cluster.bin_dir().to_owned();
        let arguments = Arguments {
            http_port: 0,
            pgdata: path("pgdata"),
            connstr: format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
            spec_path: path("spec.json"),
            pgbin: Utf8PathBuf::from_path_buf(bin_dir).unwrap(),
            remote_ext_config: None,
            postgres_user: "postgres".into(),
            shutdown_timeout_seconds: 2,
        };
        let board = Arc::new(StatusBoard::default());
        let terminate = CancellationToken::new();
        let (configure, requests) = mpsc::channel(1);
        let controls = Controls { configure: requests, terminate: terminate.clone() };
        let outcome = tokio::spawn(compute::run(Arc::new(arguments), board.clone(), controls));
        let _configure = configure;
        Self { storage, board, terminate, directory, _configure, outcome, port }
    }

    pub async fn client(&self) -> Client {
        let options = ConnectOptions {
            user: "postgres".into(),
            dbname: "postgres".into(),
            ..ConnectOptions::new("127.0.0.1", self.port)
        };
        options.connect().await.unwrap()
    }

    /// The first column of the first row.
    pub async fn ask(&self, sql: &str) -> String {
        let rows = self.client().await.simple_query(sql).await.unwrap();
        rows[0].get(0).unwrap().to_owned()
    }

    pub async fn ended(&mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, &mut self.outcome).await.unwrap().unwrap()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls a condition until it holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
