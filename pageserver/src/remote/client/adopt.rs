//! What makes a branch independent of its ancestor in remote storage: copies of the ancestor's
//! layers, and the change of the index that names them and forgets the ancestor.
//!
//! Copies are made outside of the queue. No index names them before all are there, so that a
//! crash in between leaves objects that the next attempt writes again, and nothing else.

use camino::Utf8Path;
use chrono::Utc;
use layer_format::paths::remote_layer_path;
use layer_format::{LayerFileMetadata, LayerName};
use remote_storage::RemoteStorageError;
use tokio_util::sync::CancellationToken;
use utils::{Lsn, TimelineId, backoff};

use crate::remote::remote_path;

use super::{RemoteTimelineClient, UploadQueue, WaitCompletionError};

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;
/// Failures before the caller is told.
const MAX_RETRIES: u32 = 10;

impl RemoteTimelineClient {
    /// Copies a layer of another timeline of the tenant within the store. Returns what the index
    /// is to say of the copy, which is an object of our own, in our generation.
    pub async fn copy_layer_from(
        &self,
        source: TimelineId,
        name: &LayerName,
        metadata: &LayerFileMetadata,
        cancel: &CancellationToken,
    ) -> Result<LayerFileMetadata, RemoteStorageError> {
        let copied = self.own_metadata(metadata.file_size);
        let tenant = &self.inner.shard.tenant_id;
        let from = remote_path(remote_layer_path(tenant, &source, name, metadata))
            .map_err(impossible_path)?;
        let to = remote_path(remote_layer_path(tenant, &self.inner.timeline, name, &copied))
            .map_err(impossible_path)?;
        let what = format!("copy {from} to {to}");
        let storage = &self.inner.resources.storage;
        retried(&what, cancel, || async {
            fail::fail_point!("timeline-detach-copy", |_| {
                Err(RemoteStorageError::Simulated("failpoint timeline-detach-copy".to_owned()))
            });
            storage.copy(&from, &to, cancel).await
        })
        .await?;
        Ok(copied)
    }

    /// Uploads a new layer file that no index names yet.
    pub async fn upload_unlisted_layer(
        &self,
        name: &LayerName,
        size_bytes: u64,
        local_path: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<LayerFileMetadata, RemoteStorageError> {
        let metadata = self.own_metadata(size_bytes);
        let (tenant, timeline) = (&self.inner.shard.tenant_id, &self.inner.timeline);
        let path = remote_path(remote_layer_path(tenant, timeline, name, &metadata))
            .map_err(impossible_path)?;
        let what = format!("upload {path}");
        let storage = &self.inner.resources.storage;
        retried(&what, cancel, || {
            storage.upload_file(local_path.to_owned(), size_bytes, &path, cancel)
        })
        .await?;
        Ok(metadata)
    }

    fn own_metadata(&self, file_size: u64) -> LayerFileMetadata {
        LayerFileMetadata::new(file_size, self.inner.generation, self.inner.shard.to_index())
    }

    /// Lets the index name `layers`, which are stored already, and no ancestor any more. Returns
    /// when that is durable.
    pub async fn detach_from_ancestor(
        &self,
        layers: Vec<(LayerName, LayerFileMetadata)>,
        branch_point: (TimelineId, Lsn),
    ) -> Result<(), WaitCompletionError> {
        let stored = self.inner.schedule(|queue| {
            queue.dirty.layer_metadata.extend(layers);
            queue.dirty.metadata.ancestor_timeline = None;
            queue.dirty.metadata.ancestor_lsn = Lsn::INVALID;
            queue.dirty.lineage.record_detaching(branch_point, Utc::now().naive_utc());
            queue.push_index();
            queue.push_barrier()
        })?;
        stored.await.map_err(|_| WaitCompletionError::Stopped)
    }

    /// Lets the index name another ancestor, which has the same history up to the branch point.
    /// Returns when that is durable.
    pub async fn reparent(&self, ancestor: TimelineId) -> Result<(), WaitCompletionError> {
        let stored = self.inner.schedule(|queue| {
            if let Some(old) = queue.dirty.metadata.ancestor_timeline.replace(ancestor) {
                queue.dirty.lineage.record_previous_ancestor(old);
            }
            queue.push_index();
            queue.push_barrier()
        })?;
        stored.await.map_err(|_| WaitCompletionError::Stopped)
    }

    /// Whether the timeline was branched off at `lsn` by an ancestor that it was detached from.
    pub fn was_branched_at(&self, lsn: Lsn) -> bool {
        self.detached_at().is_valid() && self.detached_at() == lsn
    }

    /// Where it was branched off by an ancestor that it was detached from; 0/0 if it was not.
    pub fn detached_at(&self) -> Lsn {
        let branch_point = match &*self.inner.lock() {
            UploadQueue::Running(running) => running.dirty.lineage.original_ancestor(),
            UploadQueue::Uninitialized | UploadQueue::Stopped(_) => None,
        };
        branch_point.map_or(Lsn::INVALID, |(_, lsn)| lsn)
    }
}

/// Paths are made of ids and layer names, which contain nothing that a path may not.
fn impossible_path(error: remote_storage::RemotePathError) -> RemoteStorageError {
    RemoteStorageError::BadInput(error.to_string())
}

async fn retried<T, F>(
    what: &str,
    cancel: &CancellationToken,
    operation: impl FnMut() -> F,
) -> Result<T, RemoteStorageError>
where
    F: Future<Output = Result<T, RemoteStorageError>>,
{
    let permanent = RemoteStorageError::is_permanent;
    backoff::retry(operation, permanent, WARN_THRESHOLD, MAX_RETRIES, what, cancel)
        .await
        .unwrap_or(Err(RemoteStorageError::Cancelled))
}
