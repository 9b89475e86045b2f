//! The handle of a layer file: on the local disk or only in remote storage, and brought here by
//! the first reader that needs it.
//!
//! Owns residency: single-flight downloads, eviction, and the removal of a layer that
//! compaction or garbage collection has dropped, once its last reader is gone. Which layers
//! exist is the layer map's business.

mod download;
mod evict;
mod file;
mod gather;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::{LayerFileError, LayerFileMetadata, LayerName};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use utils::TenantId;
use utils::gate::Gate;

use crate::context::{AccessStatsBehavior, RequestContext};
use crate::remote::RemoteTimelineClient;
use crate::tasks::TaskScope;

pub use evict::EvictionError;
pub use gather::GatherError;

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

struct Inner {
    owner: Arc<LayerOwner>,
    name: LayerName,
    metadata: LayerFileMetadata,
    local_path: Utf8PathBuf,
    residency: Mutex<Residency>,
    /// One permit: whoever brings the file here, or removes it, holds it.
    init: Arc<Semaphore>,
    /// Counts evictions; waiters see it move.
    evictions: watch::Sender<u64>,
    consecutive_failures: AtomicU32,
    wanted_deleted: AtomicBool,
    /// Seconds since the Unix epoch.
    latest_activity: AtomicU64,
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
        Layer::new(owner, name, metadata, None)
    }

    /// A layer whose file is at its local path.
    pub fn resident(owner: Arc<LayerOwner>, name: LayerName, metadata: LayerFileMetadata) -> Layer {
        Layer::new(owner, name, metadata, Some(Arc::new(OpenFile::new())))
    }

    fn new(
        owner: Arc<LayerOwner>,
        name: LayerName,
        metadata: LayerFileMetadata,
        file: Option<Arc<OpenFile>>,
    ) -> Layer {
        let local_path = owner.directory.join(name.local_file_name(metadata.generation));
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
                residency: Mutex::new(residency),
                init: Arc::new(Semaphore::new(1)),
                evictions: watch::Sender::new(0),
                consecutive_failures: AtomicU32::new(0),
                wanted_deleted: AtomicBool::new(false),
                latest_activity: AtomicU64::new(seconds_now()),
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

    /// When the layer was last read or brought here.
    pub fn latest_activity(&self) -> SystemTime {
        let seconds = self.inner.latest_activity.load(Ordering::Relaxed);
        UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    /// Marks the layer as garbage: when its last reader is gone, the local file is removed and
    /// the deletion of its object scheduled. The index must not name it any more by then.
    pub fn delete_on_drop(&self) {
        self.inner.wanted_deleted.store(true, Ordering::Release);
    }

    /// The layer with its file here, downloading it if the context allows.
    pub async fn get_or_maybe_download(
        &self,
        ctx: &RequestContext,
    ) -> Result<ResidentLayer, LayerAccessError> {
        if ctx.access_stats_behavior() == AccessStatsBehavior::Update {
            self.inner.latest_activity.store(seconds_now(), Ordering::Relaxed);
        }
        let file = match self.inner.resident_file(true) {
            Some(file) => file,
            None => download::bring_here(&self.inner, ctx).await?,
        };
        Ok(ResidentLayer { layer: self.clone(), file })
    }

    /// The layer with its file here, if it is here already.
    pub fn keep_resident(&self) -> Option<ResidentLayer> {
        let file = self.inner.resident_file(true)?;
        Some(ResidentLayer { layer: self.clone(), file })
    }
}

impl ResidentLayer {
    /// The layer.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Residency> {
        // Every change is one assignment, so a poisoned value is still whole.
        self.residency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file if it is here. With `keep`, an eviction under way is called off.
    fn resident_file(&self, keep: bool) -> Option<Arc<OpenFile>> {
        let mut residency = self.lock();
        match &*residency {
            Residency::Evicted => None,
            Residency::Resident(file) => Some(Arc::clone(file)),
            Residency::WantedEvicted(file) => {
                let file = file.upgrade()?;
                if keep {
                    *residency = Residency::Resident(Arc::clone(&file));
                }
                Some(file)
            }
        }
    }

    /// Records that the file is here, and returns the handle readers share.
    fn set_resident(self: &Arc<Self>) -> Arc<OpenFile> {
        let file = Arc::new(OpenFile::new());
        file.adopt(Arc::downgrade(self));
        *self.lock() = Residency::Resident(Arc::clone(&file));
        self.latest_activity.store(seconds_now(), Ordering::Relaxed);
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
            remove_file(&path);
            if let Err(error) = remote.schedule_deletion_of_unlinked(dropped) {
                // The next attachment's scrub finds the object; nothing refers to it.
                tracing::info!("scheduling deletion on drop failed: {error}");
            }
        });
    }
}

/// Removes a layer file; one that is gone already is fine.
fn remove_file(path: &Utf8Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("cannot remove layer file {path}: {error}");
        }
        _ => {}
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
