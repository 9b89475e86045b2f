//! The services of the process, in the order in which they start and stop.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use pageserver::config::{AuthType, PageServerConf};
use pageserver::control_plane::{ControlPlane, UpcallClient};
use pageserver::deletion_queue::{DeletionQueue, DeletionQueueClient};
use pageserver::disk_eviction::{self, DiskEvictor};
use pageserver::page_service::{PageService, PageServiceConfig};
use pageserver::remote::RemoteResources;
use pageserver::secondary::{self, Activity};
use pageserver::storage_io::{DirectAlignment, IoMode, StorageIo};
use pageserver::tasks::{BackgroundLimit, ExitOnError, RuntimeKind, Runtimes, TaskKind, TaskScope};
use pageserver::tenant::{ReceiverResources, StartupProgress, TenantManager, TenantResources};
use pageserver::{http, layers, tasks, tenant, timeline};
use remote_storage::GenericRemoteStorage;
use tls::ServerTls;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utils::auth::{JwtAuth, SharedJwtAuth};

/// Environment variable with the token that safekeepers want to see.
const SAFEKEEPER_TOKEN_VARIABLE: &str = "NEON_AUTH_TOKEN";
/// Runs of initdb at once.
const INITDB_CONCURRENCY: usize = 8;
/// How long a stage of the shutdown may take before the log says so.
const QUIET_STAGE: Duration = Duration::from_secs(1);
/// The same for the stage that writes data out.
const QUIET_TENANTS: Duration = Duration::from_secs(5);
/// How long persisting deletions may delay the shutdown. What is left is garbage, not damage.
const DELETION_LIMIT: Duration = Duration::from_secs(5);

/// When the process began.
pub struct Launch {
    /// For clocks.
    pub started: Instant,
    /// For people.
    pub timestamp: String,
}

/// The sockets, bound before anything else happens.
pub struct Listeners {
    http: std::net::TcpListener,
    https: Option<std::net::TcpListener>,
    pg: std::net::TcpListener,
}

impl Listeners {
    pub fn bind(conf: &PageServerConf) -> anyhow::Result<Self> {
        let bind = |what: &str, address: &str| {
            info!("Starting pageserver {what} handler on {address}");
            http_server::bind(address)
                .with_context(|| format!("cannot listen on {address} for {what}"))
        };
        Ok(Listeners {
            http: bind("http", &conf.listen.http_addr)?,
            https: conf
                .tls
                .https_addr
                .as_deref()
                .map(|address| bind("https", address))
                .transpose()?,
            pg: bind("pg protocol", &conf.listen.pg_addr)?,
        })
    }
}

/// Everything that runs.
pub struct Services {
    page_service: TaskScope,
    http: TaskScope,
    background: TaskScope,
    tenants: Arc<TenantManager>,
    deletion_queue: DeletionQueueClient,
}

impl Services {
    /// Starts everything. Requests are answered when the tenants are known.
    pub async fn start(
        conf: &'static PageServerConf,
        listeners: Listeners,
        runtimes: &Runtimes,
        launch: Launch,
    ) -> anyhow::Result<Self> {
        preinitialize_metrics();
        announce_io_mode(conf)?;
        let auth = load_keys(conf)?;
        let certificates = Certificates::load(conf)?;
        let storage = open_storage(conf)?;
        let background = TaskScope::new("background", CancellationToken::new());
        let runtime = runtimes.handle(RuntimeKind::Background).clone();
        let remote = start_remote(conf, storage, &background, runtime.clone());
        let deletion_queue = remote.deletion_queue.clone();
        let jobs_can_start = CancellationToken::new();
        let resources = tenant_resources(conf, remote, runtimes, jobs_can_start.clone())?;
        let tenants =
            TenantManager::new(conf, resources, background.cancellation_token().child_token());
        tenants.register_metrics()?;
        let loading = (jobs_can_start.clone(), launch.started);
        load_tenants(conf, &tenants, &background, &runtime, loading).await?;
        let cancel = background.cancellation_token().child_token();
        let disk_evictor = DiskEvictor::new(conf, Arc::clone(&tenants), cancel);
        let jobs = BackgroundJobs { conf, scope: &background, runtime, can_start: jobs_can_start };
        jobs.start_disk_eviction(&disk_evictor);
        let limits = &conf.limits;
        jobs.start_heatmaps(&tenants, Activity::Upload, limits.heatmap_upload_concurrency);
        jobs.start_heatmaps(&tenants, Activity::Download, limits.secondary_download_concurrency);

        let http = TaskScope::new("http", CancellationToken::new());
        let router = http::router(http::State {
            conf,
            tenants: Arc::clone(&tenants),
            deletion_queue: deletion_queue.clone(),
            disk_evictor,
            auth: auth.clone(),
            launch_timestamp: launch.timestamp,
        });
        let runtime = runtimes.handle(RuntimeKind::MgmtRequest);
        let tls = certificates.https.clone();
        serve_http(&http, runtime, listeners.http, listeners.https.zip(tls), router);

        let page_service = TaskScope::new("page service", CancellationToken::new());
        let config = PageServiceConfig {
            auth_type: match conf.auth.pg {
                AuthType::Trust => postgres_backend::AuthType::Trust,
                AuthType::NeonJWT => postgres_backend::AuthType::NeonJWT,
            },
            auth: auth.map(Arc::new),
            tls: certificates.page_service.clone(),
        };
        let service = PageService::new(Arc::clone(&tenants), config);
        let (listener, cancel) = (listeners.pg, page_service.cancellation_token().clone());
        let server = async move { service.serve(TcpListener::from_std(listener)?, cancel).await };
        let runtime = runtimes.handle(RuntimeKind::ComputeRequest);
        page_service.spawn_on(runtime, TaskKind::LibpqEndpointListener, ExitOnError::Yes, server);
        certificates.keep_current(conf, &background, runtime);
        Ok(Services { page_service, http, background, tenants, deletion_queue })
    }

    /// Stops everything: no new computes, then data to remote storage, then the API, which answers
    /// as long as there is something to ask.
    pub async fn shutdown(&self) {
        stage("shutdown LibpqEndpointListener", QUIET_STAGE, async {
            self.page_service.cancellation_token().cancel();
        })
        .await;
        stage("shutdown all tenants", QUIET_TENANTS, self.tenants.shutdown()).await;
        stage("shutdown PageRequestHandlers", QUIET_STAGE, self.page_service.shutdown()).await;
        stage("shutdown deletion queue", DELETION_LIMIT, async {
            if tokio::time::timeout(DELETION_LIMIT, self.deletion_queue.flush()).await.is_err() {
                warn!("pending deletions could not be persisted; the objects are leaked");
            }
        })
        .await;
        stage("shutdown http", QUIET_STAGE, self.http.shutdown()).await;
        stage("shutdown leftovers", QUIET_STAGE, self.background.shutdown()).await;
    }
}

/// What the listeners that encrypt present.
struct Certificates {
    page_service: Option<ServerTls>,
    https: Option<ServerTls>,
}

impl Certificates {
    fn load(conf: &PageServerConf) -> anyhow::Result<Self> {
        let files = &conf.tls;
        let load = |is_wanted: bool, alpn| {
            let load = || ServerTls::load(&files.cert_file, &files.key_file, alpn);
            is_wanted.then(load).transpose().context("keys 'ssl_cert_file' and 'ssl_key_file'")
        };
        Ok(Certificates {
            page_service: load(files.page_service, tls::ALPN_POSTGRESQL)?,
            https: load(files.https_addr.is_some(), tls::ALPN_HTTP1)?,
        })
    }

    /// Lets replaced files count.
    fn keep_current(self, conf: &PageServerConf, scope: &TaskScope, runtime: &Handle) {
        for tls in [self.page_service, self.https].into_iter().flatten() {
            let cancel = scope.cancellation_token().clone();
            let keeping = tls.keep_current(conf.tls.reload_period, cancel);
            scope.spawn_on(runtime, TaskKind::HttpEndpointListener, ExitOnError::No, async move {
                keeping.await;
                Ok::<(), Infallible>(())
            });
        }
    }
}

/// Serves the management API, and serves it encrypted as well if there is a listener for that.
fn serve_http(
    scope: &TaskScope,
    runtime: &Handle,
    listener: std::net::TcpListener,
    encrypted: Option<(std::net::TcpListener, ServerTls)>,
    router: axum::Router,
) {
    let kind = TaskKind::HttpEndpointListener;
    if let Some((listener, tls)) = encrypted {
        let (router, cancel) = (router.clone(), scope.cancellation_token().clone());
        scope.spawn_on(runtime, kind, ExitOnError::Yes, async move {
            let listener = TcpListener::from_std(listener)?;
            http_server::serve_tls(listener, &tls, router, cancel).await
        });
    }
    let cancel = scope.cancellation_token().clone();
    scope.spawn_on(runtime, kind, ExitOnError::Yes, async move {
        http_server::serve(TcpListener::from_std(listener)?, router, cancel).await
    });
}

/// Attaches what was attached, and announces the phases of the start. The token fires when
/// background jobs may begin.
async fn load_tenants(
    conf: &'static PageServerConf,
    tenants: &Arc<TenantManager>,
    background: &TaskScope,
    runtime: &Handle,
    (can_start, started): (CancellationToken, Instant),
) -> anyhow::Result<()> {
    let progress = StartupProgress::default();
    let cancel = background.cancellation_token().clone();
    let max_delay = conf.limits.background_task_maximum_delay;
    let announcing = progress.clone().announce(started, max_delay, can_start, cancel);
    background.spawn_on(runtime, TaskKind::InitialLoad, ExitOnError::No, async move {
        announcing.await;
        Ok::<(), Infallible>(())
    });
    tenants.start(&progress).await.context("cannot load the tenants")
}

/// Work on all tenants that begins when they are loaded.
struct BackgroundJobs<'a> {
    conf: &'static PageServerConf,
    scope: &'a TaskScope,
    runtime: Handle,
    can_start: CancellationToken,
}

impl BackgroundJobs<'_> {
    fn spawn(&self, kind: TaskKind, job: impl Future<Output = ()> + Send + 'static) {
        let (can_start, cancel) = (self.can_start.clone(), self.scope.cancellation_token().clone());
        let gated = async move {
            // Both branches are cancel-safe: they only look.
            tokio::select! {
                () = can_start.cancelled() => job.await,
                () = cancel.cancelled() => {}
            }
            Ok::<(), Infallible>(())
        };
        self.scope.spawn_on(&self.runtime, kind, ExitOnError::No, gated);
    }

    fn start_disk_eviction(&self, evictor: &Arc<DiskEvictor>) {
        match self.conf.disk_usage_eviction.clone() {
            Some(config) => {
                self.spawn(TaskKind::DiskUsageEviction, Arc::clone(evictor).run(config));
            }
            None => info!("disk usage based eviction task not configured"),
        }
    }

    fn start_heatmaps(&self, tenants: &Arc<TenantManager>, activity: Activity, concurrency: usize) {
        let kind = match activity {
            Activity::Upload => TaskKind::SecondaryUploads,
            Activity::Download => TaskKind::SecondaryDownloads,
        };
        let cancel = self.scope.cancellation_token().clone();
        self.spawn(
            kind,
            secondary::run_scheduler(activity, Arc::clone(tenants), concurrency, cancel),
        );
    }
}

/// Lets series appear before there is anything to count, so that rates work from the start.
fn preinitialize_metrics() {
    tasks::preinitialize_metrics();
    tenant::preinitialize_startup_metrics();
    layers::metrics::preinitialize();
    timeline::preinitialize_metrics();
    secondary::preinitialize_metrics();
    disk_eviction::preinitialize_metrics();
    pageserver::deletion_queue::preinitialize_metrics();
}

/// What the tenants share.
fn tenant_resources(
    conf: &PageServerConf,
    remote: RemoteResources,
    runtimes: &Runtimes,
    background_can_start: CancellationToken,
) -> anyhow::Result<TenantResources> {
    Ok(TenantResources {
        remote,
        receiver: ReceiverResources {
            broker: storage_broker::client::connect(
                &conf.wal.broker_endpoint,
                conf.wal.broker_keepalive_interval,
                conf.tls.safekeepers.root_cert.as_deref(),
            )?,
            auth_token: safekeeper_token(),
            runtime: runtimes.handle(RuntimeKind::WalReceiver).clone(),
        },
        warmup: Arc::new(Semaphore::new(conf.limits.concurrent_tenant_warmup)),
        initdb: Arc::new(Semaphore::new(INITDB_CONCURRENCY)),
        // Below the number of threads, so that some are left for everything else.
        background: BackgroundLimit::for_worker_threads(runtimes.worker_threads()),
        background_can_start,
        io: StorageIo::with_mode(
            conf.engine.max_file_descriptors,
            conf.engine.page_cache_blocks,
            conf.engine.io_mode,
        ),
    })
}

/// Starts the deletion queue, and collects what remote work of every tenant shares.
fn start_remote(
    conf: &PageServerConf,
    storage: GenericRemoteStorage,
    background: &TaskScope,
    runtime: Handle,
) -> RemoteResources {
    let control_plane = connect_control_plane(conf, background);
    let (queue, deletion_queue) = DeletionQueue::new(
        storage.clone(),
        control_plane.authority(),
        conf.deletion_path(),
        background.cancellation_token().clone(),
    );
    background.spawn_on(&runtime, TaskKind::RemoteUploadTask, ExitOnError::No, async move {
        queue.run().await;
        Ok::<(), std::convert::Infallible>(())
    });
    RemoteResources { storage, deletion_queue, control_plane, runtime }
}

fn connect_control_plane(conf: &PageServerConf, background: &TaskScope) -> ControlPlane {
    let cancel = background.cancellation_token().clone();
    let client = UpcallClient::new(&conf.upcalls, conf.id, cancel);
    match &conf.upcalls.api {
        Some(api) => info!("control plane: {api}"),
        None => info!("no control plane: tenants start in their stored generations"),
    }
    ControlPlane::new(client, conf.upcalls.emergency_mode)
}

/// Runs one stage of the shutdown and says how long it took.
async fn stage(name: &str, quiet: Duration, work: impl Future<Output = ()>) {
    let started = Instant::now();
    tokio::pin!(work);
    let in_time = tokio::time::timeout(quiet, &mut work).await.is_ok();
    if !in_time {
        info!(stage = name, "still waiting, taking longer than expected...");
        work.await;
    }
    let elapsed_ms = started.elapsed().as_millis() as u64;
    if in_time {
        info!(stage = name, elapsed_ms, "completed");
    } else {
        warn!(stage = name, elapsed_ms, "completed, took longer than expected");
    }
}

fn load_keys(conf: &PageServerConf) -> anyhow::Result<Option<SharedJwtAuth>> {
    info!("Using auth for http API: {:#?}", conf.auth.http);
    info!("Using auth for pg connections: {:#?}", conf.auth.pg);
    let Some(path) = &conf.auth.public_key_path else { return Ok(None) };
    let keys = JwtAuth::from_key_path(path.as_std_path())
        .with_context(|| format!("cannot load public keys from {path}"))?;
    Ok(Some(SharedJwtAuth::new(keys)))
}

/// The token that safekeepers want to see.
fn safekeeper_token() -> Option<String> {
    match std::env::var(SAFEKEEPER_TOKEN_VARIABLE) {
        Ok(token) => {
            info!("Loaded JWT token for authentication with Safekeeper");
            Some(token)
        }
        Err(_) => {
            info!("No JWT token for authentication with Safekeeper detected");
            None
        }
    }
}

/// Says how layer files are read, and if that is not as was asked for.
fn announce_io_mode(conf: &PageServerConf) -> anyhow::Result<()> {
    let mode = conf.engine.io_mode;
    info!("layer files are read in mode {mode:?}");
    if mode == IoMode::Direct {
        let probe = tempfile::NamedTempFile::new_in(&conf.workdir);
        let probe = probe.with_context(|| format!("cannot make a file in {}", conf.workdir))?;
        match DirectAlignment::of(probe.path())? {
            Some(alignment) => info!("direct reads are aligned as the device asks: {alignment:?}"),
            None => warn!(
                "key 'virtual_file_io_mode': the file system of {} tells of no direct reads; its files \
                 are read through the cache",
                conf.workdir
            ),
        }
    }
    Ok(())
}

fn open_storage(conf: &PageServerConf) -> anyhow::Result<GenericRemoteStorage> {
    let storage = GenericRemoteStorage::from_config(&conf.remote_storage)
        .context("cannot open remote storage")?;
    info!("remote storage: {}", storage.describe());
    let failures = u32::try_from(conf.limits.test_remote_failures).unwrap_or(u32::MAX);
    if failures == 0 {
        return Ok(storage);
    }
    warn!("the first {failures} attempts of each remote operation fail, as configured");
    Ok(storage.with_simulated_failures(failures))
}
