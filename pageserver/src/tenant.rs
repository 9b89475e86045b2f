//! Tenants: what is attached to this node, and the timelines of each.
//!
//! A [`Tenant`] is one shard attached in one generation. It is filled from remote storage, never
//! from what happens to lie on the local disk. [`TenantManager`] holds all of them and is the only
//! one to add or remove any.

mod attach;
mod bootstrap;
mod compaction_loop;
mod create;
mod delete_timeline;
mod detach_ancestor;
pub mod directory;
mod eviction_loop;
mod import;
pub mod initdb;
mod initial_size;
mod location;
mod loops;
pub mod manager;
mod metrics;
mod order;
mod receiving;
mod serving;
mod shutdown;
pub mod slots;
mod startup;
mod state;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use layer_format::TimelineMetadata;
use pageserver_api::models::{TenantConfigOverrides, TenantState};
use pageserver_api::shard::{ShardIdentity, TenantShardId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utils::gate::Gate;
use utils::{Generation, TimelineId};

use crate::config::{
    AttachMode, AttachedTenantConf, LocationConf, LocationMode, PageServerConf, TenantConfHandle,
};
use crate::redo::RedoManager;
use crate::remote::{RemoteResources, RemoteTimelineClient};
use crate::secondary::HeatmapUploadState;
use crate::storage_io::StorageIo;
use crate::tasks::{BackgroundLimit, TaskScope};
pub use crate::timeline::ShutdownMode;
use crate::timeline::{ReadThrottle, Timeline, TimelineParams};

pub use attach::AttachError;
pub use create::CreateTimelineError;
pub use delete_timeline::DeleteTimelineError;
pub use detach_ancestor::DetachAncestorError;
pub use import::ImportWalError;
pub use location::Location;
pub use manager::TenantManager;
pub use order::{OrderError, ancestors_first};
pub use receiving::ReceiverResources;
pub use startup::{StartupProgress, preinitialize_metrics as preinitialize_startup_metrics};
pub use state::{StateCell, WaitToBecomeActiveError};

/// How long requests wait for a tenant to become active.
pub const ACTIVE_TENANT_TIMEOUT: Duration =
    Duration::from_secs(if cfg!(feature = "testing") { 30 } else { 5 });

/// What all tenants share.
#[derive(Clone)]
pub struct TenantResources {
    /// Remote storage.
    pub remote: RemoteResources,
    /// Where WAL comes from.
    pub receiver: ReceiverResources,
    /// Bounds the tenants that load at once in the background.
    pub warmup: Arc<Semaphore>,
    /// Bounds the runs of initdb.
    pub initdb: Arc<Semaphore>,
    /// Bounds the background jobs that read whole timelines.
    pub background: BackgroundLimit,
    /// Fires when background jobs may begin: not while tenants are being loaded.
    pub background_can_start: CancellationToken,
    /// How layer files are read.
    pub io: StorageIo,
}

/// When a tenant is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnMode {
    /// At once.
    Eager,
    /// When there is capacity, or when somebody asks for it.
    Lazy,
}

/// Why a timeline cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GetTimelineError {
    /// There is no such timeline.
    #[error("Timeline {shard}/{timeline} was not found")]
    NotFound {
        /// The tenant.
        shard: TenantShardId,
        /// The timeline.
        timeline: TimelineId,
    },
    /// It does not serve.
    #[error("Timeline {shard}/{timeline} is not active, state: {state}")]
    NotActive {
        /// The tenant.
        shard: TenantShardId,
        /// The timeline.
        timeline: TimelineId,
        /// Its state.
        state: String,
    },
    /// It could not be loaded.
    #[error("Timeline {shard}/{timeline} is broken: {reason}")]
    Broken {
        /// The tenant.
        shard: TenantShardId,
        /// The timeline.
        timeline: TimelineId,
        /// Why.
        reason: String,
    },
}

/// One shard of a tenant, attached to this node in one generation.
pub struct Tenant {
    /// The shard.
    pub tenant_shard_id: TenantShardId,
    /// Which keys it holds.
    pub shard_identity: ShardIdentity,
    /// The process's configuration.
    pub conf: &'static PageServerConf,
    /// Its own configuration, which can change.
    pub tenant_conf: TenantConfHandle,
    /// The generation its objects are written in.
    pub generation: Generation,
    /// Fires when it is shut down.
    pub cancel: CancellationToken,
    /// Held by everything that works on it.
    pub gate: Gate,
    /// Where it is in its life.
    pub state: StateCell,
    /// Applies WAL records to pages.
    pub redo: Arc<RedoManager>,
    throttle: Arc<ReadThrottle>,
    resources: TenantResources,
    tasks: TaskScope,
    /// Ends a lazy wait for capacity.
    wanted: CancellationToken,
    timelines: Mutex<Timelines>,
    /// Held while a branch point is validated, and while garbage collection decides what to keep: a
    /// branch must not be made of what is being removed.
    pub gc_lock: tokio::sync::Mutex<()>,
    /// Held while a timeline is being detached from its ancestor.
    detaching: Arc<tokio::sync::Mutex<()>>,
    /// Held while the configuration changes on disk and in memory.
    conf_lock: tokio::sync::Mutex<()>,
    /// What the last upload of a heatmap said; held during an upload.
    pub heatmap_upload: tokio::sync::Mutex<HeatmapUploadState>,
    /// The first computations of logical sizes.
    initial_sizes: TaskTracker,
}

/// The timelines of a tenant. One lock, so that an id is in at most one of these.
#[derive(Default)]
struct Timelines {
    /// Those that exist.
    loaded: BTreeMap<TimelineId, Arc<Timeline>>,
    /// Those that exist in remote storage but cannot be loaded, and why.
    unloadable: BTreeMap<TimelineId, String>,
    /// Those that are being created.
    creating: HashSet<TimelineId>,
    /// The WAL receivers of those that follow their WAL.
    receivers: BTreeMap<TimelineId, receiving::Receiver>,
    /// Those whose deletion is in progress.
    deleting: HashSet<TimelineId>,
}

impl Tenant {
    /// The tenant of an attached location.
    fn attached(
        conf: &'static PageServerConf,
        shard: TenantShardId,
        location: &LocationConf,
        (generation, attach_mode): (Generation, AttachMode),
        resources: TenantResources,
    ) -> Arc<Self> {
        let tenant_conf = TenantConfHandle::new(AttachedTenantConf::new(
            generation,
            attach_mode,
            location.tenant_conf.clone(),
            &conf.tenant_defaults,
        ));
        Arc::new(Tenant::new(conf, shard, location.shard, tenant_conf, resources))
    }

    /// A tenant of which nothing is known but why.
    fn new_broken(
        conf: &'static PageServerConf,
        shard: TenantShardId,
        resources: TenantResources,
        reason: &str,
    ) -> Arc<Self> {
        let tenant_conf = TenantConfHandle::new(AttachedTenantConf::new(
            Generation::None,
            AttachMode::Stale,
            TenantConfigOverrides::default(),
            &conf.tenant_defaults,
        ));
        let identity = ShardIdentity::unsharded();
        let tenant = Tenant::new(conf, shard, identity, tenant_conf, resources);
        tenant.state.set_broken(reason);
        Arc::new(tenant)
    }

    fn new(
        conf: &'static PageServerConf,
        tenant_shard_id: TenantShardId,
        shard_identity: ShardIdentity,
        tenant_conf: TenantConfHandle,
        resources: TenantResources,
    ) -> Self {
        let cancel = CancellationToken::new();
        let path = conf.tenant_path(&tenant_shard_id);
        let redo = RedoManager::new(&conf.redo, tenant_shard_id, path, cancel.clone());
        Tenant {
            tenant_shard_id,
            shard_identity,
            conf,
            generation: tenant_conf.load().generation,
            tasks: TaskScope::new("tenant", cancel.clone()),
            cancel,
            gate: Gate::new(),
            state: StateCell::new(tenant_shard_id),
            redo: Arc::new(redo),
            throttle: Arc::new(ReadThrottle::new(tenant_conf.clone())),
            tenant_conf,
            resources,
            wanted: CancellationToken::new(),
            timelines: Mutex::default(),
            gc_lock: tokio::sync::Mutex::new(()),
            detaching: Arc::default(),
            conf_lock: tokio::sync::Mutex::new(()),
            heatmap_upload: tokio::sync::Mutex::default(),
            initial_sizes: TaskTracker::new(),
        }
    }

    fn timelines(&self) -> MutexGuard<'_, Timelines> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the tenant serves, and lets it overtake others that wait for capacity.
    pub async fn wait_active(&self, wait: Duration) -> Result<(), WaitToBecomeActiveError> {
        if self.state.is_active() {
            return Ok(());
        }
        let started = Instant::now();
        self.wanted.cancel();
        let outcome = self.state.wait_active(wait, &self.cancel).await;
        startup::ACTIVATION_SECONDS.observe(started.elapsed().as_secs_f64());
        outcome
    }

    /// Whether it is up to us to remove layers, by compaction and garbage collection.
    pub fn may_remove_layers(&self) -> bool {
        let unloadable = !self.timelines().unloadable.is_empty();
        // A branch that cannot be loaded cannot say what it needs of its ancestor.
        self.tenant_conf.load().attach_mode.may_delete() && !unloadable
    }

    /// A timeline in any state.
    pub fn get_timeline(&self, timeline: TimelineId) -> Result<Arc<Timeline>, GetTimelineError> {
        let timelines = self.timelines();
        let shard = self.tenant_shard_id;
        match (timelines.loaded.get(&timeline), timelines.unloadable.get(&timeline)) {
            (Some(found), _) => Ok(Arc::clone(found)),
            (None, Some(reason)) => {
                Err(GetTimelineError::Broken { shard, timeline, reason: reason.clone() })
            }
            (None, None) => Err(GetTimelineError::NotFound { shard, timeline }),
        }
    }

    /// A timeline that serves.
    pub fn get_active_timeline(
        &self,
        timeline: TimelineId,
    ) -> Result<Arc<Timeline>, GetTimelineError> {
        let found = self.get_timeline(timeline)?;
        if found.is_active() {
            return Ok(found);
        }
        Err(GetTimelineError::NotActive {
            shard: self.tenant_shard_id,
            timeline,
            state: format!("{:?}", found.current_state()),
        })
    }

    /// Every timeline that could be loaded.
    pub fn list_timelines(&self) -> Vec<Arc<Timeline>> {
        self.timelines().loaded.values().map(Arc::clone).collect()
    }

    /// The timelines that could not be loaded, and why.
    pub fn unloadable_timelines(&self) -> BTreeMap<TimelineId, String> {
        self.timelines().unloadable.clone()
    }

    /// What one of the tenant's timelines is made from.
    fn timeline_params(
        &self,
        timeline_id: TimelineId,
        metadata: TimelineMetadata,
        ancestor: Option<Arc<Timeline>>,
        remote_client: RemoteTimelineClient,
    ) -> TimelineParams {
        TimelineParams {
            conf: self.conf,
            tenant_conf: self.tenant_conf.clone(),
            tenant_shard_id: self.tenant_shard_id,
            timeline_id,
            shard_identity: self.shard_identity,
            metadata,
            ancestor,
            remote_client,
            redo: Arc::clone(&self.redo),
            parent_cancel: self.cancel.clone(),
            runtime: self.resources.remote.runtime.clone(),
            io: self.resources.io.clone(),
            throttle: Arc::clone(&self.throttle),
        }
    }

    /// Where the tenant's objects are.
    pub fn remote_storage(&self) -> &remote_storage::GenericRemoteStorage {
        &self.resources.remote.storage
    }

    /// A remote client of one of the tenant's timelines.
    fn remote_client(&self, timeline: TimelineId) -> RemoteTimelineClient {
        RemoteTimelineClient::new(
            self.resources.remote.clone(),
            self.tenant_shard_id,
            timeline,
            self.generation,
        )
    }

    /// The location as it is now: what is persisted, and what HTTP shows.
    pub fn location(&self) -> LocationConf {
        let conf = self.tenant_conf.load();
        LocationConf {
            mode: LocationMode::Attached {
                generation: conf.generation,
                attach_mode: conf.attach_mode,
            },
            shard: self.shard_identity,
            tenant_conf: conf.overrides.clone(),
        }
    }

    /// Brings everything that was ingested to remote storage.
    async fn flush_remote(&self) -> Result<(), String> {
        for timeline in self.list_timelines() {
            timeline.freeze_and_flush().await.map_err(|error| error.to_string())?;
            timeline.remote_client.wait_completion().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Makes it unusable.
    pub fn set_broken(&self, reason: &str) {
        if self.state.current() == TenantState::Active {
            tracing::warn!("Changing Active tenant to Broken state, reason: {reason}");
        }
        self.state.set_broken(reason);
    }
}
