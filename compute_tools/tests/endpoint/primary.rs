//! A primary from start to stop, with a stock PostgreSQL server: built from a backup, streaming
//! to safekeepers in process.

use std::sync::Arc;
use std::time::Duration;

use crate::support::page_service::{self, Backup};
use crate::support::safekeepers::Safekeeper;
use camino::Utf8PathBuf;
use compute_tools::cli::Arguments;
use compute_tools::compute::{self, Controls};
use compute_tools::http::ConfigureRequest;
use compute_tools::status::{ComputeStatus, StatusBoard};
use pg_testing::TestCluster;
use postgres_client::{Client, ConnectOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utils::{TenantId, TenantTimelineId, TimelineId};

const PATIENCE: Duration = Duration::from_secs(60);

struct Endpoint {
    _cluster: TestCluster,
    directory: tempfile::TempDir,
    backup: Arc<Backup>,
    safekeepers: Vec<Safekeeper>,
    board: Arc<StatusBoard>,
    terminate: CancellationToken,
    _configure: mpsc::Sender<ConfigureRequest>,
    outcome: JoinHandle<anyhow::Result<()>>,
    port: u16,
}

impl Endpoint {
    async fn start() -> Self {
        let cluster = TestCluster::init();
        let backup = Arc::new(Backup::of_fresh_cluster(&cluster.pgdata()));
        let page_service = page_service::serve(backup.clone()).await;
        let ttid = TenantTimelineId::new(TenantId::generate(), TimelineId::generate());
        let mut safekeepers = Vec::new();
        for id in 1..=3 {
            safekeepers.push(Safekeeper::start(ttid, id).await);
        }
        let directory = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let port = free_port();
        let addresses: Vec<_> =
            safekeepers.iter().map(|sk| format!("127.0.0.1:{}", sk.port)).collect();
        let socket_directory = cluster.pgdata().parent().unwrap().display().to_string();
        let spec = serde_json::json!({
            "tenant_id": ttid.tenant_id,
            "timeline_id": ttid.timeline_id,
            "pageserver_connstring": format!("postgresql://no_user@127.0.0.1:{page_service}"),
            "safekeeper_connstrings": addresses,
            "cluster": {
                "roles": [{"name": "test"}],
                "databases": [{"name": "neondb", "owner": "test"}],
                "postgresql_conf": format!("unix_socket_directories='{socket_directory}'\n"),
            },
        });
        let path = |name: &str| Utf8PathBuf::from_path_buf(directory.path().join(name)).unwrap();
        std::fs::write(path("spec.json"), spec.to_string()).unwrap();
        let arguments = Arguments {
            http_port: 0,
            pgdata: path("pgdata"),
            connstr: format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
            spec_path: path("spec.json"),
            pgbin: Utf8PathBuf::from_path_buf(cluster.bin_dir().to_owned()).unwrap(),
            remote_ext_config: None,
            postgres_user: "postgres".into(),
            shutdown_timeout_seconds: 2,
        };
        let board = Arc::new(StatusBoard::default());
        let terminate = CancellationToken::new();
        let (configure, requests) = mpsc::channel(1);
        let controls = Controls { configure: requests, terminate: terminate.clone() };
        let run = compute::run(Arc::new(arguments), board.clone(), controls);
        let outcome = tokio::spawn(run);
        Self {
            _cluster: cluster,
            directory,
            backup,
            safekeepers,
            board,
            terminate,
            _configure: configure,
            outcome,
            port,
        }
    }

    async fn running() -> Self {
        let mut endpoint = Self::start().await;
        let mut status = endpoint.board.subscribe();
        let running = status.wait_for(|status| *status == ComputeStatus::Running);
        tokio::select! {
            outcome = &mut endpoint.outcome => panic!("ended early: {outcome:?}"),
            running = tokio::time::timeout(PATIENCE, running) => { running.unwrap().unwrap(); }
        }
        endpoint
    }

    async fn client(&self) -> Client {
        let options = ConnectOptions {
            user: "postgres".into(),
            dbname: "postgres".into(),
            ..ConnectOptions::new("127.0.0.1", self.port)
        };
        options.connect().await.unwrap()
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, &mut self.outcome).await.unwrap().unwrap()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_runs_commits_and_stops_cleanly() {
    let mut endpoint = Endpoint::running().await;
    let mut client = endpoint.client().await;
    client.simple_query("create table t as select generate_series(1, 100000) i").await.unwrap();
    let rows = client.simple_query("select pg_current_wal_flush_lsn()").await.unwrap();
    let written: utils::Lsn = rows[0].get(0).unwrap().parse().unwrap();
    assert!(endpoint.board.positions().commit_lsn > endpoint.backup.start_lsn);
    let having = endpoint.safekeepers.iter().filter(|sk| sk.flush_lsn() >= written).count();
    assert!(having >= 2, "a commit returned before a quorum had it");
    let databases = client.simple_query("select 1 from pg_database where datname = 'neondb'");
    assert_eq!(databases.await.unwrap().len(), 1);

    drop(client);
    endpoint.terminate.cancel();
    endpoint.ended().await.unwrap();
    assert_eq!(endpoint.board.status(), ComputeStatus::Terminated);
    let end = endpoint.board.positions().wal_end_lsn;
    for safekeeper in &endpoint.safekeepers {
        assert_eq!(safekeeper.commit_lsn(), end, "everybody knows the shutdown checkpoint");
    }
    let wal: Vec<_> = endpoint.safekeepers.iter().map(Safekeeper::wal).collect();
    assert!(wal.windows(2).all(|pair| pair[0] == pair[1]), "the logs differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safekeeper_that_was_away_is_refilled() {
    let endpoint = Endpoint::running().await;
    endpoint.safekeepers[2].go_offline();
    let mut client = endpoint.client().await;
    // More than the window of recent WAL holds, so that a donor is needed.
    client
        .simple_query("create table t as select repeat('x', 500) f from generate_series(1, 200000)")
        .await
        .unwrap();
    let wanted = endpoint.safekeepers[0].flush_lsn();
    assert!(wanted > endpoint.safekeepers[2].flush_lsn() + (64 << 20));
    endpoint.safekeepers[2].come_back();
    eventually("the third safekeeper catches up", || endpoint.safekeepers[2].flush_lsn() >= wanted)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_commits_wait_and_a_stop_ends_at_its_deadline() {
    let mut endpoint = Endpoint::running().await;
    let mut client = endpoint.client().await;
    client.simple_query("create table t(i int)").await.unwrap();
    endpoint.safekeepers[0].go_offline();
    endpoint.safekeepers[1].go_offline();
    let insert = client.simple_query("insert into t values (1)");
    let waited = tokio::time::timeout(Duration::from_millis(1500), insert).await;
    assert!(waited.is_err(), "a commit returned without a quorum");

    endpoint.terminate.cancel();
    let error = endpoint.ended().await.unwrap_err();
    assert!(error.to_string().contains("was stopped hard"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_superseded_dies_at_once() {
    let mut endpoint = Endpoint::running().await;
    for safekeeper in &endpoint.safekeepers {
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
    let mut endpoint = Endpoint::running().await;
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
    let endpoint = Endpoint::running().await;
    for safekeeper in &endpoint.safekeepers {
        // They agree without an election, so there is only the session of the stream.
        assert_eq!(safekeeper.push_sessions(), 1);
    }
}
