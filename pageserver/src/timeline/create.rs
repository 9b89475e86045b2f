//! Making a timeline object: for a new timeline, or as the first step of loading one.

use std::sync::{Arc, RwLock};

use camino::Utf8Path;
use layer_format::TimelineMetadata;
use pageserver_api::shard::{ShardIdentity, TenantShardId};
use postgres_ffi::PgMajor;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utils::gate::Gate;
use utils::lsn::AtomicLsn;
use utils::{Lsn, TimelineId, fs_ext};

use super::download_all::DownloadAllLayers;
use super::flush::FlushControl;
use super::initial_size::InitialSize;
use super::last_record::{LastRecord, RecordLsn};
use super::layer_manager::LayerManager;
use super::metrics::OperationMetrics;
use super::write::WriteState;
use super::{CreateTimelineError, ReadThrottle, Timeline, TimelineState};
use crate::config::{PageServerConf, TenantConfHandle};
use crate::keymap::{DirectoryCounts, LogicalSize, RelSizeCache};
use crate::layers::{Layer, LayerOwner};
use crate::redo::RedoManager;
use crate::remote::RemoteTimelineClient;
use crate::storage_io::StorageIo;
use crate::tasks::TaskScope;

/// What a timeline is made from.
pub struct TimelineParams {
    /// The process's configuration.
    pub conf: &'static PageServerConf,
    /// The tenant's options.
    pub tenant_conf: TenantConfHandle,
    /// The tenant shard.
    pub tenant_shard_id: TenantShardId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// Which part of the tenant's keys lives here.
    pub shard_identity: ShardIdentity,
    /// What defines the timeline.
    pub metadata: TimelineMetadata,
    /// The ancestor that the metadata names.
    pub ancestor: Option<Arc<Timeline>>,
    /// The timeline's remote state, with its queue started.
    pub remote_client: RemoteTimelineClient,
    /// Applies WAL records to pages.
    pub redo: Arc<RedoManager>,
    /// Fires when the tenant shuts down.
    pub parent_cancel: CancellationToken,
    /// Where background work runs.
    pub runtime: Handle,
    /// How files are read.
    pub io: StorageIo,
    /// Bounds the rate of reads of the tenant.
    pub throttle: Arc<ReadThrottle>,
}

impl Timeline {
    /// Makes a new timeline: one without layers, whose directory must not exist yet. It is
    /// Loading until [`Timeline::activate`].
    ///
    /// For a bootstrap the metadata has an invalid `disk_consistent_lsn`; ingest then starts
    /// at `initdb_lsn`. For a branch `disk_consistent_lsn` is the branch point.
    pub async fn new_empty(params: TimelineParams) -> Result<Arc<Timeline>, CreateTimelineError> {
        let path = params.conf.timeline_path(&params.tenant_shard_id, &params.timeline_id);
        create_directory(&path)?;
        utils::pausable_failpoint!(
            "after-timeline-dir-creation",
            Err(CreateTimelineError::Failpoint("after-timeline-dir-creation"))
        );
        Timeline::assemble(params, |_| Vec::new())
    }

    /// Makes the object, with the layers that `layers` provides.
    pub(super) fn assemble(
        params: TimelineParams,
        layers: impl FnOnce(&Arc<LayerOwner>) -> Vec<Layer>,
    ) -> Result<Arc<Timeline>, CreateTimelineError> {
        let TimelineParams { conf, tenant_conf, tenant_shard_id, timeline_id, .. } = params;
        let metadata = params.metadata;
        let ancestor = match (metadata.ancestor_timeline, params.ancestor) {
            (None, _) => None,
            (Some(id), Some(ancestor)) if ancestor.timeline_id == id => {
                Some((ancestor, metadata.ancestor_lsn))
            }
            (Some(id), _) => return Err(CreateTimelineError::AncestorMissing(id)),
        };
        let cancel = params.parent_cancel.child_token();
        let gate = Gate::new();
        let tasks = TaskScope::new("timeline", cancel.clone());
        let layer_owner = Arc::new(LayerOwner {
            tenant_id: tenant_shard_id.tenant_id,
            directory: conf.timeline_path(&tenant_shard_id, &timeline_id),
            remote: params.remote_client.clone(),
            tasks: tasks.clone(),
            runtime: params.runtime,
            cancel: cancel.clone(),
            gate: gate.clone(),
            max_read_bytes: conf.engine.max_vectored_read_bytes,
            forbidden_downloads_only_warn: conf.engine.forbidden_downloads_only_warn,
            tenant_conf: tenant_conf.clone(),
            counters: Arc::default(),
            io: params.io,
        });
        let disk_consistent_lsn = metadata.disk_consistent_lsn;
        let next_open_layer_at = first_lsn_not_on_disk(&metadata);
        let prev = metadata.prev_record_lsn.unwrap_or(Lsn::INVALID);
        Ok(Arc::new(Timeline {
            conf,
            tenant_shard_id,
            timeline_id,
            shard_identity: params.shard_identity,
            pg_major: PgMajor::try_from(metadata.pg_version)?,
            cancel,
            gate,
            tasks,
            ancestor,
            initdb_lsn: metadata.initdb_lsn,
            detached_at: params.remote_client.detached_at(),
            generation: params.remote_client.generation(),
            remote_client: params.remote_client,
            redo: params.redo,
            tenant_conf,
            state: watch::Sender::new(TimelineState::Loading),
            layers: RwLock::new(LayerManager::new(next_open_layer_at, layers(&layer_owner))),
            layer_owner,
            last_record: LastRecord::new(RecordLsn { last: disk_consistent_lsn, prev }),
            disk_consistent_lsn: AtomicLsn::new(disk_consistent_lsn),
            latest_gc_cutoff_lsn: AtomicLsn::new(metadata.latest_gc_cutoff_lsn),
            write_state: tokio::sync::Mutex::new(WriteState::new(disk_consistent_lsn)),
            flush: FlushControl::new(),
            compaction: tokio::sync::Mutex::default(),
            download_all: DownloadAllLayers::default(),
            rel_size_cache: RelSizeCache::new(disk_consistent_lsn),
            directory_counts: DirectoryCounts::default(),
            throttle: params.throttle,
            initial_size: InitialSize::new(!disk_consistent_lsn.is_valid()),
            operations: OperationMetrics::default(),
            logical_size: match disk_consistent_lsn.is_valid() {
                true => LogicalSize::unknown(),
                false => LogicalSize::empty(),
            },
        }))
    }
}

/// Where ingest goes on.
fn first_lsn_not_on_disk(metadata: &TimelineMetadata) -> Lsn {
    match metadata.disk_consistent_lsn {
        Lsn::INVALID => metadata.initdb_lsn,
        on_disk => on_disk + 1,
    }
}

fn create_directory(path: &Utf8Path) -> Result<(), CreateTimelineError> {
    let failed = |source| CreateTimelineError::Directory { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(CreateTimelineError::DirectoryExists(path.to_owned()));
        }
        created => created.map_err(failed)?,
    }
    match path.parent().map(|parent| fs_ext::fsync_dir(parent.as_std_path())) {
        Some(Err(error)) => Err(failed(error.source)),
        Some(Ok(())) | None => Ok(()),
    }
}
