//! A timeline: one branch's data as layers, with its write path, read path and life.
//!
//! Owns the layers of one tenant shard's timeline, the LSN positions, the single writer, the
//! flush loop and shutdown. Knows keys and values, not what they mean: that is
//! [`crate::keymap`]. Which timelines exist is the tenant's business.
//!
//! Lock order: the writer's async mutex, then the layer manager's lock, then the upload
//! queue's. The latter two are never held over I/O or an await.

mod chain_ceiling;
mod compaction;
mod create;
mod detach_ancestor;
mod download_all;
mod error;
mod eviction;
mod flush;
mod housekeeping;
mod initial_size;
mod key_store;
mod last_record;
mod layer_manager;
mod layer_stacks;
mod load;
mod metadata;
mod metrics;
mod new_layer;
mod read;
mod shutdown;
mod state;
#[cfg(test)]
pub mod testing;
mod throttle;
mod visit;
mod wait;
mod write;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use layer_format::LayerName;
use pageserver_api::shard::{ShardIdentity, TenantShardId};
use postgres_ffi::PgMajor;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utils::gate::Gate;
use utils::lsn::AtomicLsn;
use utils::{Generation, Lsn, TimelineId};

use crate::config::{PageServerConf, TenantConfHandle};
use crate::keymap::{DirectoryCounts, LogicalSize, RelSizeCache};
use crate::layers::layer::LayerCounters;
use crate::layers::{Layer, LayerOwner};
use crate::redo::RedoManager;
use crate::remote::RemoteTimelineClient;
use crate::tasks::TaskScope;

pub use compaction::{CompactFlags, CompactionError};
pub use create::TimelineParams;
pub use detach_ancestor::{DetachError, DetachLimits};
pub use error::{
    CreateTimelineError, FlushError, GetVectoredError, LoadTimelineError, PageReconstructError,
    ReadBelowCutoff, WaitLsnError, WriteError,
};
pub use eviction::EvictionStats;
pub use initial_size::{Attempt, InitialSizeCalculation};
pub use key_store::TimelineKeys;
pub use last_record::RecordLsn;
pub use layer_stacks::LayerStack;
pub use metrics::{
    OperationMetrics, OperationTimer, StorageOperation, preinitialize as preinitialize_metrics,
};
pub use read::MAX_GET_VECTORED_KEYS;
pub use shutdown::ShutdownMode;
pub use state::TimelineState;
pub use throttle::ReadThrottle;
pub use write::TimelineWriter;

use compaction::CompactionState;
use download_all::DownloadAllLayers;
use flush::FlushControl;
use initial_size::InitialSize;
use last_record::LastRecord;
use layer_manager::LayerManager;
use write::WriteState;

/// One branch of a tenant shard's history.
pub struct Timeline {
    /// The process's configuration.
    pub conf: &'static PageServerConf,
    /// The tenant's current options.
    pub tenant_conf: TenantConfHandle,
    /// The tenant shard.
    pub tenant_shard_id: TenantShardId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// Which part of the tenant's keys lives here.
    pub shard_identity: ShardIdentity,
    /// The PostgreSQL version of the data.
    pub pg_major: PgMajor,
    /// The timeline in remote storage.
    pub remote_client: RemoteTimelineClient,
    /// Applies WAL records to pages.
    pub redo: Arc<RedoManager>,
    /// Fires when the timeline shuts down.
    pub cancel: CancellationToken,
    /// Held by everything that works on the timeline.
    pub gate: Gate,
    /// The timeline's tasks.
    pub tasks: TaskScope,
    ancestor: Option<(Arc<Timeline>, Lsn)>,
    initdb_lsn: Lsn,
    /// The branch point from before a detachment: the layers up to here were the ancestor's.
    detached_at: Lsn,
    generation: Generation,
    state: watch::Sender<TimelineState>,
    layers: RwLock<LayerManager>,
    layer_owner: Arc<LayerOwner>,
    last_record: LastRecord,
    disk_consistent_lsn: AtomicLsn,
    latest_gc_cutoff_lsn: AtomicLsn,
    write_state: tokio::sync::Mutex<WriteState>,
    flush: FlushControl,
    rel_size_cache: RelSizeCache,
    logical_size: LogicalSize,
    directory_counts: DirectoryCounts,
    operations: OperationMetrics,
    initial_size: InitialSize,
    throttle: Arc<ReadThrottle>,
    compaction: tokio::sync::Mutex<CompactionState>,
    download_all: DownloadAllLayers,
}

impl Timeline {
    /// The end of the last record whose effects are visible.
    pub fn last_record_lsn(&self) -> Lsn {
        self.last_record.load().last
    }

    /// The ends of the last record and of the one before, taken together.
    pub fn last_record_rlsn(&self) -> RecordLsn {
        self.last_record.load()
    }

    /// Everything up to here is in layer files on the local disk.
    pub fn disk_consistent_lsn(&self) -> Lsn {
        self.disk_consistent_lsn.load()
    }

    /// Everything up to here is in remote storage, as far as this node knows.
    pub fn remote_consistent_lsn_projected(&self) -> Option<Lsn> {
        self.remote_client.remote_consistent_lsn_projected()
    }

    /// The same, validated: safekeepers may discard WAL below it.
    pub fn remote_consistent_lsn_visible(&self) -> Lsn {
        self.remote_client.remote_consistent_lsn_visible()
    }

    /// Reads below this LSN are refused.
    pub fn latest_gc_cutoff_lsn(&self) -> Lsn {
        self.latest_gc_cutoff_lsn.load()
    }

    /// The end of the initial import.
    pub fn initdb_lsn(&self) -> Lsn {
        self.initdb_lsn
    }

    /// The timeline this one was branched from, and where.
    pub fn ancestor(&self) -> Option<(Arc<Timeline>, Lsn)> {
        self.ancestor.clone()
    }

    /// Id of the ancestor, if there is one.
    pub fn ancestor_timeline_id(&self) -> Option<TimelineId> {
        self.ancestor.as_ref().map(|(ancestor, _)| ancestor.timeline_id)
    }

    /// The branch point; 0/0 without an ancestor.
    pub fn ancestor_lsn(&self) -> Lsn {
        self.ancestor.as_ref().map_or(Lsn::INVALID, |(_, lsn)| *lsn)
    }

    /// The generation that new layers are written in.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Relation sizes known without reading.
    pub fn rel_size_cache(&self) -> &RelSizeCache {
        &self.rel_size_cache
    }

    /// The sum of all relation sizes, kept up to date by ingest.
    pub fn logical_size(&self) -> &LogicalSize {
        &self.logical_size
    }

    /// How many entries its directories have.
    pub fn directory_counts(&self) -> &DirectoryCounts {
        &self.directory_counts
    }

    /// Measures background work on it.
    pub fn operations(&self) -> &OperationMetrics {
        &self.operations
    }

    /// Refuses LSNs whose data may have been garbage-collected.
    pub fn check_lsn_is_in_scope(&self, lsn: Lsn) -> Result<(), ReadBelowCutoff> {
        let cutoff = self.latest_gc_cutoff_lsn();
        if lsn < cutoff { Err(ReadBelowCutoff { lsn, cutoff }) } else { Ok(()) }
    }

    /// Every persistent layer, in no particular order.
    pub fn layers(&self) -> Vec<Layer> {
        self.layers_read().layers().cloned().collect()
    }

    /// The handle of a layer by its name.
    pub fn find_layer(&self, name: &LayerName) -> Option<Layer> {
        self.layers_read().layer(name).cloned()
    }

    /// LSN ranges and sizes in bytes of the in-memory layers, oldest first.
    pub fn in_memory_layers(&self) -> Vec<(std::ops::Range<Lsn>, u64)> {
        let layers = self.layers_read().in_memory();
        layers.iter().map(|layer| (layer.lsn_range(), layer.size_bytes())).collect()
    }

    /// Sum of the sizes of all layers, in bytes.
    pub fn current_physical_size(&self) -> u64 {
        self.layers_read().layers().map(|layer| layer.metadata().file_size).sum()
    }

    /// Sum of the sizes of the layers whose files are here, in bytes.
    pub fn resident_physical_size(&self) -> u64 {
        let layers = self.layers();
        layers.iter().filter(|l| l.is_resident()).map(|l| l.metadata().file_size).sum()
    }

    /// What is counted about its layers.
    pub fn layer_counters(&self) -> &LayerCounters {
        &self.layer_owner.counters
    }

    fn layers_read(&self) -> RwLockReadGuard<'_, LayerManager> {
        // A panic under the lock is a bug, but reads of what is there remain right.
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers_write(&self) -> RwLockWriteGuard<'_, LayerManager> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timeline<{}/{}>", self.tenant_shard_id, self.timeline_id)
    }
}

#[cfg(test)]
mod tests;
