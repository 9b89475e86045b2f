//! The handle of a layer file: on the local disk or only in remote storage, and brought here by
//! the first reader that needs it.
//!
//! Owns residency: single-flight downloads, eviction, and the removal of a layer that
//! compaction or garbage collection has dropped, once its last reader is gone. Which layers
//! exist is the layer map's business.

mod access_stats;
mod counters;
mod download;
mod evict;
mod file;
mod gather;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::{LayerFileError, LayerFileMetadata, LayerName};
use pageserver_api::models::layer::{
    LayerAccessStats, LayerResidenceEventReason, LayerResidenceStatus,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use utils::TenantId;
use utils::gate::Gate;

use super::metrics::{self, EvictionCancelled, RareEvent};
use crate::config::TenantConfHandle;
use crate::context::{AccessStatsBehavior, RequestContext};
use crate::remote::RemoteTimelineClient;
use crate::storage_io::StorageIo;
use crate::tasks::{TaskKind, TaskScope};

pub use access_stats::{AccessKind, StatsReset};
pub use counters::LayerCounters;
pub use evict::EvictionError;
pub use gather::GatherError;

use access_stats::AccessStats;
use file::OpenFile;

/// What the layers of one timeline share.
pub struct LayerOwner {
    /// The tenant that must be named in the files.
    pub tenant_id: TenantId,
    /// The timeline's directory.
    pub directory: Utf8PathBuf,
    /// The timeline's remote state.
    pub remote: RemoteTimelineClient,
    /// Where background work of layers is spawned and awaited.
    pub tasks: TaskScope,
    /// The runtime that work runs on, also when it is started from a destructor.
    pub runtime: Handle,
    /// Fires when the timeline shuts down.
    pub cancel: CancellationToken,
    /// Held by downloads.
    pub gate: Gate,
    /// Bytes that one read may fetch at once.
    pub max_read_bytes: u64,
    /// Whether a forbidden download is only worth a warning.
    pub forbidden_downloads_only_warn: bool,
    /// The tenant's options.
    pub tenant_conf: TenantConfHandle,
    /// What is counted for the whole timeline.
    pub counters: Arc<LayerCounters>,
    /// How files are read.
    pub io: StorageIo,
}

/// Where the file is.
enum Residency {
    /// Only in remote storage.
    Evicted,
    /// Here.
    Resident(Arc<OpenFile>),
    /// Here as long as somebody reads it; a new reader may keep it.
    WantedEvicted(Weak<OpenFile>),
}

/// What the layer's lock protects.
struct State {
    residency: Residency,
    /// Evictions that removed the file.
    evictions: u64,
    /// Evictions that came to nothing.
    cancelled_evictions: u64,
    /// When the file was last removed.
    evicted_at: Option<Instant>,
}

struct Inner {
    owner: Arc<LayerOwner>,
    name: LayerName,
    metadata: LayerFileMetadata,
    local_path: Utf8PathBuf,
    state: Mutex<State>,
    /// One permit: whoever brings the file here, or removes it, holds it.
    init: Arc<Semaphore>,
    /// Wakes those that wait for the end of an eviction.
    eviction_ended: Notify,
    consecutive_failures: AtomicU32,
    wanted_deleted: AtomicBool,
    stats: AccessStats,
}

/// A layer of a timeline. Clones are the same layer.
#[derive(Clone)]
pub struct Layer {
    inner: Arc<Inner>,
}

/// A layer whose file stays here while this lives.
#[derive(Clone)]
pub struct ResidentLayer {
    layer: Layer,
    file: Arc<OpenFile>,
    /// Who reads.
    task: TaskKind,
}

/// A layer could not be made available.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LayerAccessError {
    /// The timeline is shutting down.
    #[error("downloading failed, possibly for shutdown")]
    Cancelled,
    /// The file is not here and the context forbids downloads.
    #[error("layer {0} is not resident and downloading it is not allowed here")]
    DownloadRequired(LayerName),
    /// The download failed.
    #[error("downloading evicted layer file failed: {0}")]
    Download(Arc<crate::remote::DownloadError>),
    /// What is at the local path is not the file.
    #[error("local layer file {path} is unusable: {reason}")]
    LocalFile {
        /// The path.
        path: Utf8PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be opened, now or ever.
    #[error("layer loading failed permanently: load layer: {0}")]
    Corrupt(Arc<LayerFileError>),
    /// The file could not be opened this time.
    #[error("layer loading failed: {0}")]
    Open(Arc<std::io::Error>),
}

impl Layer {
    /// A layer that is only in remote storage.
    pub fn evicted(owner: Arc<LayerOwner>, name: LayerName, metadata: LayerFileMetadata) -> Layer {
        Layer::new(owner, name, metadata, None, LayerResidenceEventReason::LayerLoad)
    }

    /// A layer whose file was found at its local path.
    pub fn resident(owner: Arc<LayerOwner>, name: LayerName, metadata: LayerFileMetadata) -> Layer {
        let file = Some(Arc::new(OpenFile::new()));
        Layer::new(owner, name, metadata, file, LayerResidenceEventReason::LayerLoad)
    }

    /// A layer whose file was just made at its local path.
    pub fn created(owner: Arc<LayerOwner>, name: LayerName, metadata: LayerFileMetadata) -> Layer {
        owner.counters.record_write(metadata.file_size);
        let file = Some(Arc::new(OpenFile::new()));
        Layer::new(owner, name, metadata, file, LayerResidenceEventReason::LayerCreate)
    }

    fn new(
        owner: Arc<LayerOwner>,
        name: LayerName,
        metadata: LayerFileMetadata,
        file: Option<Arc<OpenFile>>,
        reason: LayerResidenceEventReason,
    ) -> Layer {
        let local_path = owner.directory.join(name.local_file_name(metadata.generation));
        let stats = AccessStats::default();
        stats.record_residence(
            match file {
                Some(_) => LayerResidenceStatus::Resident,
                None => LayerResidenceStatus::Evicted,
            },
            reason,
        );
        let inner = Arc::new_cyclic(|inner| {
            let residency = match file {
                None => Residency::Evicted,
                Some(file) => {
                    file.adopt(inner.clone());
                    Residency::Resident(file)
                }
            };
            Inner {
                owner,
                name,
                metadata,
                local_path,
                state: Mutex::new(State {
                    residency,
                    evictions: 0,
                    cancelled_evictions: 0,
                    evicted_at: None,
                }),
                init: Arc::new(Semaphore::new(1)),
                eviction_ended: Notify::new(),
                consecutive_failures: AtomicU32::new(0),
                wanted_deleted: AtomicBool::new(false),
                stats,
            }
        });
        Layer { inner }
    }

    /// What the layer covers.
    pub fn name(&self) -> &LayerName {
        &self.inner.name
    }

    /// Size, generation and shard.
    pub fn metadata(&self) -> &LayerFileMetadata {
        &self.inner.metadata
    }

    /// Where the file is, or would be.
    pub fn local_path(&self) -> &Utf8Path {
        &self.inner.local_path
    }

    /// Whether the file is here. The answer may be outdated at once.
    pub fn is_resident(&self) -> bool {
        self.inner.resident_file(false).is_some()
    }

    /// When the layer was last read, brought here or removed from here.
    pub fn latest_activity(&self) -> SystemTime {
        self.inner.stats.latest_activity()
    }

    /// How the layer was used, for people.
    pub fn access_stats(&self, reset: StatsReset) -> LayerAccessStats {
        self.inner.stats.render(reset)
    }

    /// Marks the layer as garbage: when its last reader is gone, the local file is removed and
    /// the deletion of its object scheduled. The index must not name it any more by then.
    pub fn delete_on_drop(&self) {
        if !self.inner.wanted_deleted.swap(true, Ordering::AcqRel) {
            metrics::STARTED_DELETES.inc();
        }
    }

    /// The layer with its file here, downloading it if the context allows.
    pub async fn get_or_maybe_download(
        &self,
        ctx: &RequestContext,
    ) -> Result<ResidentLayer, LayerAccessError> {
        self.get_for(AccessKind::GetValueReconstructData, ctx).await
    }

    /// The same, for a reader that wants something else than values of pages.
    pub async fn get_for(
        &self,
        kind: AccessKind,
        ctx: &RequestContext,
    ) -> Result<ResidentLayer, LayerAccessError> {
        if ctx.access_stats_behavior() == AccessStatsBehavior::Update {
            self.inner.stats.record_access(ctx.task_kind(), kind);
        }
        let file = match self.inner.resident_file(true) {
            Some(file) => file,
            None => download::bring_here(&self.inner, ctx).await?,
        };
        Ok(ResidentLayer { layer: self.clone(), file, task: ctx.task_kind() })
    }
}

impl ResidentLayer {
    /// The layer.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a poisoned value is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file if it is here. With `keep`, an eviction under way is called off.
    fn resident_file(&self, keep: bool) -> Option<Arc<OpenFile>> {
        let mut state = self.lock();
        match &state.residency {
            Residency::Evicted => None,
            Residency::Resident(file) => Some(Arc::clone(file)),
            Residency::WantedEvicted(file) => {
                let file = file.upgrade()?;
                if keep {
                    state.residency = Residency::Resident(Arc::clone(&file));
                    self.eviction_cancelled(&mut state, EvictionCancelled::UpgradedBackOnAccess);
                }
                Some(file)
            }
        }
    }

    /// Records that an eviction came to nothing, and tells those that wait for it.
    fn eviction_cancelled(&self, state: &mut State, reason: EvictionCancelled) {
        state.cancelled_evictions += 1;
        reason.count();
        self.eviction_ended.notify_waiters();
    }

    /// Records that the file is here, and returns the handle readers share.
    fn set_resident(self: &Arc<Self>) -> Arc<OpenFile> {
        self.set_resident_instead_of_eviction(EvictionCancelled::LostToDownload)
    }

    /// The same; `reason` is why an eviction under way, if there is one, came to nothing.
    fn set_resident_instead_of_eviction(
        self: &Arc<Self>,
        reason: EvictionCancelled,
    ) -> Arc<OpenFile> {
        let file = Arc::new(OpenFile::new());
        file.adopt(Arc::downgrade(self));
        {
            let mut state = self.lock();
            if matches!(state.residency, Residency::WantedEvicted(_)) {
                self.eviction_cancelled(&mut state, reason);
            }
            state.residency = Residency::Resident(Arc::clone(&file));
        }
        let (status, reason) =
            (LayerResidenceStatus::Resident, LayerResidenceEventReason::ResidenceChange);
        self.stats.record_residence(status, reason);
        file
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.wanted_deleted.get_mut() {
            return;
        }
        let path = std::mem::take(&mut self.local_path);
        let dropped = vec![(self.name.clone(), self.metadata.clone())];
        let remote = self.owner.remote.clone();
        self.owner.runtime.spawn_blocking(move || {
            if !remove_file(&path) {
                RareEvent::RemoveOnDropFailed.count();
            }
            match remote.schedule_deletion_of_unlinked(dropped) {
                Ok(()) => metrics::COMPLETED_DELETES.inc(),
                Err(error) => {
                    // The next attachment's scrub finds the object; nothing refers to it.
                    tracing::info!("scheduling deletion on drop failed: {error}");
                    metrics::count_failed_delete();
                }
            }
        });
    }
}

/// Removes a layer file; one that is gone already is fine. False if it is still there.
fn remove_file(path: &Utf8Path) -> bool {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("cannot remove layer file {path}: {error}");
            false
        }
        Ok(()) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests;
