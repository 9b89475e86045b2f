//! Deletion of a whole timeline from remote storage.
//!
//! First the index is marked, so that the deletion resumes after a crash; then everything but the
//! index goes; the index goes last, so that a crash never leaves objects that nothing leads to.

use chrono::Utc;
use layer_format::IndexPart;
use layer_format::paths::{
    INITDB_PRESERVED_ARCHIVE, remote_initdb_archive_path, remote_layer_path, remote_timeline_prefix,
};
use remote_storage::{ListMode, RemotePath, RemotePathError, RemoteStorageError};
use tokio_util::sync::CancellationToken;
use utils::backoff;

use crate::deletion_queue::DeletionError;
use crate::remote::queue::UploadQueue;
use crate::remote::remote_path;

use super::RemoteTimelineClient;
use super::worker::OpError;

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// A timeline could not be deleted from remote storage. The deletion can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTimelineError {
    /// The timeline was not shut down, or never had an index.
    #[error("the upload queue of a timeline must be stopped before the timeline is deleted")]
    NotStopped,
    /// The index does not say that the timeline is being deleted.
    #[error("deleted_at is not set")]
    NotMarked,
    /// The index could not be marked.
    #[error("cannot upload the index that marks the timeline as deleted: {0}")]
    Mark(String),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] RemoteStorageError),
    /// An object has an impossible name.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The process is shutting down.
    #[error(transparent)]
    Queue(#[from] DeletionError),
    /// A test asked for it.
    #[error("failpoint: {0}")]
    Failpoint(&'static str),
}

impl RemoteTimelineClient {
    /// Uploads an index that marks the timeline as being deleted. Repeating it is fine.
    ///
    /// Uses the caller's token: ours was cancelled when the queue was stopped.
    pub async fn mark_deleted(
        &self,
        cancel: &CancellationToken,
    ) -> Result<(), DeleteTimelineError> {
        let mut index = self.stopped_index()?;
        if index.deleted_at.is_none() {
            index.deleted_at = Some(Utc::now().naive_utc());
        }
        utils::pausable_failpoint!("persist_deleted_index_part");
        let attempt = || self.inner.put_index(&index, cancel);
        let permanent =
            |error: &OpError| matches!(error, OpError::Storage(error) if error.is_permanent());
        let what = "persist_index_part_with_deleted_flag";
        match backoff::retry(attempt, permanent, WARN_THRESHOLD, 5, what, cancel).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(DeleteTimelineError::Mark(error.to_string())),
            None => return Err(DeleteTimelineError::Storage(RemoteStorageError::Cancelled)),
        }
        if let UploadQueue::Stopped(Some(kept)) = &mut *self.inner.lock() {
            kept.deleted_at = index.deleted_at;
        }
        Ok(())
    }

    /// Deletes every object of the timeline, the index last.
    pub async fn delete_all(&self, cancel: &CancellationToken) -> Result<(), DeleteTimelineError> {
        // What is abandoned half-way is taken up again by the next attempt.
        tokio::select! {
            outcome = self.delete_everything(cancel) => outcome,
            () = cancel.cancelled() => Err(RemoteStorageError::Cancelled.into()),
        }
    }

    async fn delete_everything(
        &self,
        cancel: &CancellationToken,
    ) -> Result<(), DeleteTimelineError> {
        let index = self.stopped_index()?;
        if index.deleted_at.is_none() {
            return Err(DeleteTimelineError::NotMarked);
        }
        let inner = &self.inner;
        let tenant = &inner.shard.tenant_id;
        let mut objects = vec![remote_path(remote_initdb_archive_path(tenant, &inner.timeline))?];
        for (name, layer) in &index.layer_metadata {
            objects.push(remote_path(remote_layer_path(tenant, &inner.timeline, name, layer))?);
        }
        let deletions = &inner.resources.deletion_queue;
        deletions.push_immediate(objects).await?;
        deletions.flush_immediate().await?;

        let (indexes, strays) = self.remaining(cancel).await?;
        for stray in &strays {
            tracing::info!(
                "deleting a file not referenced from index_part.json name={}",
                stray.object_name()
            );
        }
        deletions.push_immediate(strays).await?;
        deletions.flush_immediate().await?;
        utils::pausable_failpoint!(
            "timeline-delete-before-index-delete",
            Err(DeleteTimelineError::Failpoint("timeline-delete-before-index-delete"))
        );
        deletions.push_immediate(indexes).await?;
        deletions.flush_immediate().await?;
        utils::pausable_failpoint!(
            "timeline-delete-after-index-delete",
            Err(DeleteTimelineError::Failpoint("timeline-delete-after-index-delete"))
        );
        Ok(())
    }

    /// What is left under the timeline's prefix: the newest index, and everything else that may go.
    async fn remaining(
        &self,
        cancel: &CancellationToken,
    ) -> Result<(Vec<RemotePath>, Vec<RemotePath>), DeleteTimelineError> {
        let inner = &self.inner;
        let prefix = remote_path(remote_timeline_prefix(&inner.shard, &inner.timeline))?;
        let storage = &inner.resources.storage;
        let list = || storage.list(Some(&prefix), ListMode::NoDelimiter, None, cancel);
        let permanent = RemoteStorageError::is_permanent;
        let what = format!("list {prefix}");
        let listing = backoff::retry(list, permanent, WARN_THRESHOLD, u32::MAX, &what, cancel)
            .await
            .unwrap_or(Err(RemoteStorageError::Cancelled))?;
        let newest = listing
            .keys
            .iter()
            .filter_map(|key| IndexPart::parse_object_name(key.object_name()))
            .max();
        let mut objects = listing.keys;
        objects.retain(|key| key.object_name() != INITDB_PRESERVED_ARCHIVE);
        let is_newest = |key: &RemotePath| {
            newest.is_some() && IndexPart::parse_object_name(key.object_name()) == newest
        };
        Ok(objects.into_iter().partition(is_newest))
    }

    fn stopped_index(&self) -> Result<IndexPart, DeleteTimelineError> {
        match &*self.inner.lock() {
            UploadQueue::Stopped(Some(index)) => Ok((**index).clone()),
            UploadQueue::Stopped(None) | UploadQueue::Uninitialized | UploadQueue::Running(_) => {
                Err(DeleteTimelineError::NotStopped)
            }
        }
    }
}
