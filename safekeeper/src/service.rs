//! The daemon as a component: sockets, timelines and the tasks that serve them.
//!
//! Start-up order matters: sockets are bound before timelines are loaded, so that a wrong
//! address fails fast, and served after, so that nobody sees a half-loaded node.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use remote_storage::{GenericRemoteStorage, RemoteStorageError};
use tls::{ClientTls, ServerTls, SslMode};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utils::auth::SharedJwtAuth;

use crate::archive::WalArchive;
use crate::auth::SecretToken;
use crate::broker;
use crate::config::Config;
use crate::http;
use crate::metrics::timelines::TimelineCollector;
use crate::node::Node;
use crate::runtimes::{Roles, Runtimes};
use crate::timelines::Timelines;
use crate::wal_service::WalService;

/// How often old tombstones are forgotten.
const TOMBSTONE_HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Keys that tokens are checked with, per endpoint; without keys everybody may connect.
#[derive(Clone, Debug, Default)]
pub struct AuthKeys {
    /// For the WAL service.
    pub pg: Option<SharedJwtAuth>,
    /// For the tenant-only WAL service.
    pub pg_tenant_only: Option<SharedJwtAuth>,
    /// For HTTP.
    pub http: Option<SharedJwtAuth>,
    /// Presented to other safekeepers.
    pub own_token: Option<SecretToken>,
}

/// Sockets that are bound and not served yet.
#[derive(Debug)]
pub struct Listeners {
    pg: TcpListener,
    pg_tenant_only: Option<TcpListener>,
    http: TcpListener,
    https: Option<TcpListener>,
}

impl Listeners {
    /// Binds everything the configuration names. A port 0 is replaced in `config` by the one
    /// the system chose, because others are told these addresses.
    pub fn bind(config: &mut Config) -> anyhow::Result<Self> {
        let bind = |address: &str| {
            http_server::bind(address).with_context(|| format!("cannot listen on {address}"))
        };
        let pg = bind(&config.listen_pg)?;
        let pg_tenant_only = config.listen_pg_tenant_only.as_deref().map(bind).transpose()?;
        let http = bind(&config.listen_http)?;
        let https = config.listen_https.as_deref().map(bind).transpose()?;
        let advertises_listener = config.advertise_pg == config.listen_pg;
        replace_port_zero(&mut config.listen_pg, pg.local_addr()?);
        replace_port_zero(&mut config.listen_http, http.local_addr()?);
        if let (Some(address), Some(listener)) = (&mut config.listen_https, &https) {
            replace_port_zero(address, listener.local_addr()?);
        }
        if advertises_listener {
            config.advertise_pg.clone_from(&config.listen_pg);
        }
        Ok(Self { pg, pg_tenant_only, http, https })
    }
}

/// What the listeners that encrypt present.
struct Certificates {
    wal_service: Option<ServerTls>,
    https: Option<ServerTls>,
}

impl Certificates {
    fn load(config: &Config) -> anyhow::Result<Self> {
        let tls = &config.tls;
        let load = |is_wanted: bool, alpn| {
            let load = || ServerTls::load(&tls.cert_file, &tls.key_file, alpn);
            is_wanted.then(load).transpose().context("options --ssl-cert-file, --ssl-key-file")
        };
        Ok(Self {
            wal_service: load(tls.wal_service, tls::ALPN_POSTGRESQL)?,
            https: load(config.listen_https.is_some(), tls::ALPN_HTTP1)?,
        })
    }
}

/// Connections to the management APIs of others; those over TLS must have a certificate by one
/// that is trusted.
fn peer_http(config: &Config) -> anyhow::Result<reqwest::Client> {
    let Some(ca_file) = config.tls.ca_file.clone() else { return Ok(reqwest::Client::new()) };
    let tls = ClientTls { mode: SslMode::VerifyFull, root_cert: Some(ca_file) };
    Ok(reqwest::Client::builder().use_preconfigured_tls(tls.config()?).build()?)
}

fn replace_port_zero(address: &mut String, bound: SocketAddr) {
    if address.ends_with(":0") {
        *address = bound.to_string();
    }
}

/// The running daemon.
#[derive(Debug)]
pub struct Service {
    timelines: Arc<Timelines>,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    cancel: CancellationToken,
    /// Last, so that tasks are told to end before their runtimes are.
    runtimes: Runtimes,
}

impl Service {
    /// Loads the timelines and starts to serve. Must run within an async runtime, on which
    /// everything is done with `--current-thread-runtime`.
    pub fn start(config: Config, keys: AuthKeys, listeners: Listeners) -> anyhow::Result<Self> {
        let archive = open_archive(&config).context("option --remote-storage")?;
        let certificates = Certificates::load(&config)?;
        let http = peer_http(&config).context("option --ssl-ca-file")?;
        let runtimes = match config.current_thread_runtime {
            true => Runtimes::none(),
            false => Runtimes::start().context("cannot start the async runtimes")?,
        };
        let roles = runtimes.roles().clone();
        let timelines = Timelines::new(Node::new(config, archive, http, keys.own_token, roles));
        let broker_client = {
            // What moves a client's requests runs where it was made.
            let _within = runtimes.roles().broker.enter();
            broker::connect(&timelines).context("option --broker-endpoint")?
        };
        timelines.load_all().context("cannot load timelines")?;
        let (tasks, cancel) = (JoinSet::new(), CancellationToken::new());
        let mut service = Self { timelines: timelines.clone(), tasks, cancel, runtimes };
        let tls = &certificates.wal_service;
        service.spawn_wal_service("WAL service", listeners.pg, keys.pg, tls, false);
        if let Some(listener) = listeners.pg_tenant_only {
            let keys = keys.pg_tenant_only;
            service.spawn_wal_service("tenant-only WAL service", listener, keys, tls, true);
        }
        let router = http::router(timelines.clone(), keys.http);
        if let (Some(listener), Some(tls)) = (listeners.https, certificates.https.clone()) {
            service.spawn_https(listener, tls, router.clone());
        }
        service.spawn_http(listeners.http, router);
        service.spawn_certificates(certificates);
        let exchange = broker::run(timelines.clone(), broker_client, service.cancel.clone());
        service.spawn("broker", |roles| &roles.broker, async move {
            exchange.await;
            Ok(())
        });
        let housekeeping = forget_old_tombstones(timelines);
        service.spawn("tombstone housekeeping", |roles| &roles.background, housekeeping);
        Ok(service)
    }

    fn spawn_wal_service(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        keys: Option<SharedJwtAuth>,
        tls: &Option<ServerTls>,
        tenant_only: bool,
    ) {
        let service = WalService::new(self.timelines.clone(), keys, tls.clone(), tenant_only);
        let cancel = self.cancel.clone();
        self.spawn(name, |roles| &roles.wal_service, async move {
            // A socket belongs to the runtime that it is registered in.
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(service.run(listener, cancel).await?)
        });
    }

    fn spawn_http(&mut self, listener: TcpListener, router: axum::Router) {
        let cancel = self.cancel.clone();
        self.spawn("HTTP", |roles| &roles.http, async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(http_server::serve(listener, router, cancel).await?)
        });
    }

    fn spawn_https(&mut self, listener: TcpListener, tls: ServerTls, router: axum::Router) {
        let cancel = self.cancel.clone();
        self.spawn("HTTPS", |roles| &roles.http, async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(http_server::serve_tls(listener, &tls, router, cancel).await?)
        });
    }

    fn spawn_certificates(&mut self, certificates: Certificates) {
        let period = self.timelines.config().tls.reload_period;
        for tls in [certificates.wal_service, certificates.https].into_iter().flatten() {
            let keeping = tls.keep_current(period, self.cancel.clone());
            self.spawn("certificates", |roles| &roles.background, async move {
                keeping.await;
                Ok(())
            });
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        role: impl FnOnce(&Roles) -> &Handle,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn_on(async move { (name, task.await) }, role(self.runtimes.roles()));
    }

    /// The timelines, for whoever embeds the daemon.
    pub fn timelines(&self) -> &Arc<Timelines> {
        &self.timelines
    }

    /// Exposes the gauges of timelines. Once per process.
    pub fn register_metrics(&self) -> anyhow::Result<()> {
        let collector = TimelineCollector::new(self.timelines.clone())?;
        Ok(metrics::register(Box::new(collector))?)
    }

    /// Returns when one of the main tasks ends, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} task ended"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} task failed")),
            Some(Err(error)) => anyhow::Error::new(error).context("a main task failed"),
            None => anyhow::anyhow!("there are no tasks"),
        }
    }

    /// Stops serving: sockets are closed, connections end, and what runs ahead of control files is
    /// saved. Takes a few seconds at most.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        self.timelines.stop().await;
        self.tasks.shutdown().await;
    }
}

/// Also opened with `--disable-wal-backup`: others may have archived what is to be deleted.
fn open_archive(config: &Config) -> Result<Option<Arc<WalArchive>>, RemoteStorageError> {
    let Some(remote_storage) = &config.remote_storage else { return Ok(None) };
    let storage = GenericRemoteStorage::from_config(remote_storage)?;
    tracing::info!("WAL is archived in {}", storage.describe());
    Ok(Some(Arc::new(WalArchive::new(storage))))
}

async fn forget_old_tombstones(timelines: Arc<Timelines>) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(TOMBSTONE_HOUSEKEEPING_INTERVAL).await;
        timelines.forget_old_tombstones();
    }
}
