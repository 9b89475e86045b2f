//! `RemoteTimelineClient`: what a timeline calls to keep its remote state in step.
//!
//! Scheduling is synchronous and cheap, so that it can happen in the critical section that makes a
//! layer visible to readers. Execution is in [`worker`]. Uploads run in every attach mode: their
//! objects carry our generation and disturb nobody.

mod adopt;
mod delete;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::{IndexPart, LayerFileMetadata, LayerName, TimelineMetadata};
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::shard::TenantShardId;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utils::lsn::AtomicLsn;
use utils::{Generation, Lsn, TimelineId};

use super::metrics::{CallMetrics, LAYER_DOWNLOAD, timed};
use super::queue::{LayerUpload, QueueError, Running, UploadOp, UploadQueue};
use super::{DownloadError, RemoteResources};

pub use delete::DeleteTimelineError;

/// Waiting for uploads ended early.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WaitCompletionError {
    /// The queue takes no operations.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue was stopped meanwhile.
    #[error("wait_completion aborted because upload queue was stopped")]
    Stopped,
}

/// How far a timeline is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Everything up to here is in layers.
    pub disk_consistent_lsn: Lsn,
    /// The record before the last one, if the last one ends there.
    pub prev_record_lsn: Option<Lsn>,
    /// Reads below are refused.
    pub latest_gc_cutoff_lsn: Lsn,
    /// Sum of all relation sizes there, in bytes, if it is known.
    pub logical_size: Option<u64>,
}

/// The remote state of one timeline. Clones share it.
#[derive(Clone)]
pub struct RemoteTimelineClient {
    inner: Arc<Inner>,
}

struct Inner {
    resources: RemoteResources,
    shard: TenantShardId,
    timeline: TimelineId,
    generation: Generation,
    queue: Mutex<UploadQueue>,
    /// What safekeepers may be told: they discard WAL below it.
    visible_lsn: Arc<AtomicLsn>,
    /// Fires when the queue has been drained by a shutdown, or stopped.
    drained: CancellationToken,
    /// Ends tasks in progress.
    cancel: CancellationToken,
    tasks: TaskTracker,
    metrics: CallMetrics,
}

impl RemoteTimelineClient {
    /// A client whose queue takes nothing until one of the `init` functions is called.
    pub fn new(
        resources: RemoteResources,
        shard: TenantShardId,
        timeline: TimelineId,
        generation: Generation,
    ) -> Self {
        let inner = Inner {
            metrics: CallMetrics::new(&shard, &timeline),
            resources,
            shard,
            timeline,
            generation,
            queue: Mutex::new(UploadQueue::Uninitialized),
            visible_lsn: Arc::new(AtomicLsn::new(Lsn::INVALID)),
            drained: CancellationToken::new(),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        RemoteTimelineClient { inner: Arc::new(inner) }
    }

    /// Starts the queue of a timeline whose index was downloaded.
    pub fn init_from_index(&self, index: &IndexPart) {
        self.inner.visible_lsn.store(index.metadata.disk_consistent_lsn);
        self.inner.lock().start(index.clone(), true);
    }

    /// Starts the queue of a timeline of which nothing is in remote storage yet.
    pub fn init_for_new_timeline(&self, metadata: &TimelineMetadata) {
        self.inner.lock().start(IndexPart::empty(metadata.clone()), false);
    }

    /// Prepares the continuation of a deletion that was interrupted: nothing can be scheduled.
    pub fn init_to_continue_deletion(&self, index: &IndexPart) {
        *self.inner.lock() = UploadQueue::Stopped(Some(Box::new(index.clone())));
    }

    /// The generation that objects are written in.
    pub fn generation(&self) -> Generation {
        self.inner.generation
    }

    /// Adds a layer to the index and schedules its upload. To be called in the critical section that
    /// makes the layer visible. The next index upload makes it durable.
    ///
    /// # Panics
    /// When the layer is of another generation: it would overwrite or miss an object.
    pub fn schedule_layer_file_upload(
        &self,
        name: LayerName,
        metadata: LayerFileMetadata,
        local_path: Utf8PathBuf,
    ) -> Result<(), QueueError> {
        assert_eq!(metadata.generation, self.inner.generation, "generation of new layer {name}");
        self.inner.schedule(|queue| queue.push_layer(LayerUpload { name, metadata, local_path }))
    }

    /// Replaces the timeline metadata and schedules an upload of the index.
    pub fn schedule_index_upload_for_full_metadata_update(
        &self,
        metadata: &TimelineMetadata,
    ) -> Result<(), QueueError> {
        self.inner.schedule(|queue| queue.push_metadata(metadata, None))
    }

    /// Records how far the timeline is and schedules an upload of the index. What it was made from
    /// stays as the index has it: a detachment may just have changed that.
    pub fn schedule_index_upload_for_progress(
        &self,
        progress: &Progress,
    ) -> Result<(), QueueError> {
        self.inner.schedule(|queue| {
            queue.push_metadata(
                &TimelineMetadata {
                    disk_consistent_lsn: progress.disk_consistent_lsn,
                    prev_record_lsn: progress.prev_record_lsn,
                    latest_gc_cutoff_lsn: progress.latest_gc_cutoff_lsn,
                    ..queue.dirty.metadata.clone()
                },
                progress.logical_size,
            );
        })
    }

    /// The logical size in bytes at `lsn`, if the index says how far the timeline is with it.
    pub fn logical_size_at(&self, lsn: Lsn) -> Option<u64> {
        match &*self.inner.lock() {
            UploadQueue::Running(running) => running.logical_size_at(lsn),
            UploadQueue::Uninitialized | UploadQueue::Stopped(_) => None,
        }
    }

    /// Lets the index have the logical size at `lsn`, if that is how far it says the timeline is.
    /// It goes up with the next change, or when the queue is shut down.
    pub fn note_logical_size(&self, lsn: Lsn, bytes: u64) {
        if let UploadQueue::Running(running) = &mut *self.inner.lock() {
            running.note_logical_size(lsn, bytes);
        }
    }

    /// Schedules an upload of the index if layers were added or removed since the last one.
    pub fn schedule_index_upload_for_file_changes(&self) -> Result<(), QueueError> {
        self.inner.schedule(Running::push_index_if_changed)
    }

    /// Records how auxiliary files are stored, and schedules an upload of the index if that is new.
    pub fn record_aux_file_policy(&self, policy: AuxFilePolicy) -> Result<(), QueueError> {
        self.inner.schedule(|queue| {
            let name = Some(policy.name().to_owned());
            if queue.dirty.last_aux_file_policy != name {
                queue.dirty.last_aux_file_policy = name;
                queue.push_index();
            }
        })
    }

    /// Lets the next index say what that of the ancestor says of auxiliary files.
    pub fn inherit_aux_file_policy(&self, ancestor: &RemoteTimelineClient) {
        let inherited = ancestor.aux_file_policy().map(|policy| policy.name().to_owned());
        if let UploadQueue::Running(running) = &mut *self.inner.lock() {
            running.dirty.last_aux_file_policy = inherited;
        }
    }

    /// How auxiliary files are stored, if the index says so.
    pub fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        let name = match &*self.inner.lock() {
            UploadQueue::Running(running) => running.dirty.last_aux_file_policy.clone(),
            UploadQueue::Uninitialized | UploadQueue::Stopped(_) => None,
        };
        name?.parse().ok()
    }

    /// Removes layers from the index without deleting them: readers may still use them. They are
    /// deleted with [`schedule_deletion_of_unlinked`](Self::schedule_deletion_of_unlinked).
    pub fn schedule_gc_update(&self, layers: &[LayerName]) -> Result<(), QueueError> {
        self.inner.schedule(|queue| {
            queue.unlink(layers);
            queue.push_index_if_changed();
        })
    }

    /// Replaces layers by others in one index update: uploads the new ones, then the index.
    pub fn schedule_compaction_update(
        &self,
        from: &[LayerName],
        to: Vec<(LayerName, LayerFileMetadata, Utf8PathBuf)>,
    ) -> Result<(), QueueError> {
        self.inner.schedule(|queue| {
            for (name, metadata, local_path) in to {
                queue.push_layer(LayerUpload { name, metadata, local_path });
            }
            queue.unlink(from);
            queue.push_index_if_changed();
        })
    }

    /// Schedules the deletion of layers that the index does not name any more.
    pub fn schedule_deletion_of_unlinked(
        &self,
        layers: Vec<(LayerName, LayerFileMetadata)>,
    ) -> Result<(), QueueError> {
        let layers = self.inner.deletable(layers);
        self.inner.schedule(|queue| queue.push_delete(layers))
    }

    /// Removes layers from the index and deletes them once that is durable.
    pub fn schedule_unlink_and_delete(&self, names: &[LayerName]) -> Result<(), QueueError> {
        self.inner.schedule(|queue| {
            let unlinked = queue.unlink(names);
            queue.push_index_if_changed();
            queue.push_delete(self.inner.deletable(unlinked));
        })
    }

    /// Holds everything scheduled later back until everything scheduled before has been done.
    pub fn schedule_barrier(&self) -> Result<oneshot::Receiver<()>, QueueError> {
        self.inner.schedule(Running::push_barrier)
    }

    /// Waits until everything scheduled so far is in remote storage.
    pub async fn wait_completion(&self) -> Result<(), WaitCompletionError> {
        let barrier = self.schedule_barrier()?;
        barrier.await.map_err(|_| WaitCompletionError::Stopped)
    }

    /// Lets what is scheduled finish, refuses anything new, and returns when all is done.
    /// Returns at once when the queue was never started, and when it is stopped.
    pub async fn shutdown(&self) {
        // A queue that takes nothing any more will not learn of sizes either.
        let _ = self.inner.schedule(Running::push_index_if_size_is_new);
        {
            let mut queue = self.inner.lock();
            let Some(running) = queue.running_or_draining() else { return };
            running.push_shutdown();
            self.inner.launch(running);
        }
        self.inner.drained.cancelled().await;
    }

    /// Drops what is scheduled and lets tasks in progress end. Keeps the index for a deletion.
    pub fn stop(&self) {
        let dropped = self.inner.lock().stop();
        for op in &dropped {
            self.inner.metrics.ended(op);
        }
        self.inner.cancel.cancel();
        self.inner.drained.cancel();
        self.inner.tasks.close();
    }

    /// Waits until no task of a stopped queue runs any more.
    pub async fn wait_stopped(&self) {
        self.inner.tasks.wait().await;
    }

    /// Everything up to here is in remote storage, as far as this node knows. `None` when nothing
    /// is.
    pub fn remote_consistent_lsn_projected(&self) -> Option<Lsn> {
        self.inner.lock().clean().map(|index| index.metadata.disk_consistent_lsn)
    }

    /// The same, but only what safekeepers may be told: what was found in remote storage while our
    /// generation was current. Without a control plane to ask that is all of it.
    pub fn remote_consistent_lsn_visible(&self) -> Lsn {
        self.inner.visible_lsn.load()
    }

    /// Whether an index that is in remote storage names this very object. Until then the local
    /// file is all there is of it.
    pub fn is_stored(&self, name: &LayerName, metadata: &LayerFileMetadata) -> bool {
        let queue = self.inner.lock();
        queue.clean().is_some_and(|index| index.layer_metadata.get(name) == Some(metadata))
    }

    /// The layers that the index will name when everything scheduled has been done.
    pub fn layers(&self) -> BTreeMap<LayerName, LayerFileMetadata> {
        match &*self.inner.lock() {
            UploadQueue::Running(running) => running.dirty.layer_metadata.clone(),
            UploadQueue::Stopped(Some(index)) => index.layer_metadata.clone(),
            UploadQueue::Uninitialized | UploadQueue::Stopped(None) => BTreeMap::new(),
        }
    }

    /// Sum of the sizes of the layers that the uploaded index names, in bytes.
    pub fn remote_physical_size(&self) -> u64 {
        let queue = self.inner.lock();
        queue.clean().map_or(0, |index| index.layer_metadata.values().map(|l| l.file_size).sum())
    }

    /// Downloads a layer to `local_path`. Returns its size in bytes.
    pub async fn download_layer_file(
        &self,
        name: &LayerName,
        metadata: &LayerFileMetadata,
        local_path: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<u64, DownloadError> {
        let _counted = self.inner.metrics.download();
        let download = super::download::download_layer_file(
            &self.inner.resources.storage,
            &self.inner.shard,
            &self.inner.timeline,
            name,
            metadata,
            local_path,
            cancel,
        );
        timed(LAYER_DOWNLOAD, download).await
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, UploadQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, and starts what may run.
    fn schedule<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Running) -> T,
    ) -> Result<T, QueueError> {
        let mut queue = self.lock();
        let running = queue.running()?;
        let queued_before = running.queued_len();
        let value = change(running);
        for op in running.queued_from(queued_before) {
            self.metrics.scheduled(op);
        }
        self.launch(running);
        Ok(value)
    }

    /// Layers whose objects are ours to delete. Objects of an ancestor shard may be used by its
    /// other children; they are only unlinked.
    fn deletable(
        &self,
        layers: Vec<(LayerName, LayerFileMetadata)>,
    ) -> Vec<(LayerName, LayerFileMetadata)> {
        let own = self.shard.to_index();
        let (deletable, inherited): (Vec<_>, Vec<_>) =
            layers.into_iter().partition(|(_, metadata)| metadata.shard == own);
        for (name, metadata) in &inherited {
            tracing::debug!("layer {name} of shard {} is unlinked only", metadata.shard);
        }
        for (name, metadata) in &deletable {
            let suffix = metadata.generation.remote_suffix();
            tracing::info!("scheduling deletion of layer {name}{suffix} (shard {own})");
        }
        deletable
    }
}

/// Text of an operation in log lines.
fn describe(op: &UploadOp) -> String {
    match op {
        UploadOp::Layer(upload) => format!(
            "UploadLayer({}, size={}, gen={:?})",
            upload.name, upload.metadata.file_size, upload.metadata.generation
        ),
        UploadOp::Index(index) => {
            format!("UploadMetadata(lsn={})", index.metadata.disk_consistent_lsn)
        }
        UploadOp::Delete(layers) => format!("Delete({} layers)", layers.len()),
        UploadOp::Barrier(_) => "Barrier".to_owned(),
        UploadOp::Shutdown => "Shutdown".to_owned(),
    }
}

#[cfg(test)]
mod tests;
