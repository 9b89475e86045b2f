//! Executes the operations of the upload queue, each in its own task, retrying for ever.

use std::sync::Arc;

use bytes::Bytes;
use layer_format::paths::{remote_index_path, remote_layer_path};
use layer_format::{IndexPart, LayerFileMetadata, LayerName};
use remote_storage::{RemotePathError, RemoteStorageError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::backoff::{
    DEFAULT_BASE_BACKOFF_SECONDS, DEFAULT_MAX_BACKOFF_SECONDS, exponential_backoff,
};

use crate::deletion_queue::DeletionError;
use crate::remote::metrics::{kinds, timed};
use crate::remote::queue::{LayerUpload, Ready, Running, UploadOp};
use crate::remote::remote_path;

use super::{Inner, describe};

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpError {
    #[error(transparent)]
    Storage(#[from] RemoteStorageError),
    #[error(transparent)]
    Path(#[from] RemotePathError),
    #[error(transparent)]
    Index(#[from] layer_format::index_part::IndexPartError),
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    #[error("cannot open layer file {path} for upload: {source}")]
    Open { path: camino::Utf8PathBuf, source: std::io::Error },
    #[error("layer file {path} has different size: {actual} bytes, its metadata says {expected}")]
    Size { path: camino::Utf8PathBuf, actual: u64, expected: u64 },
}

impl Inner {
    /// Starts everything that may run. To be called after each change, under the queue's lock.
    pub(super) fn launch(self: &Arc<Self>, running: &mut Running) {
        while let Some(ready) = running.next_ready() {
            match ready {
                Ready::Drained => self.drained.cancel(),
                Ready::Task(id, op) => {
                    let span = tracing::info_span!(
                        parent: None,
                        "remote_upload",
                        tenant_id = %self.shard.tenant_id,
                        shard_id = %self.shard.to_index(),
                        timeline_id = %self.timeline,
                    );
                    let task = Arc::clone(self).run(id, op).instrument(span);
                    self.tasks.spawn_on(task, &self.resources.runtime);
                }
            }
        }
    }

    async fn run(self: Arc<Self>, id: u64, op: UploadOp) {
        if !self.retry(&op).await {
            self.metrics.ended(&op);
            return;
        }
        let mut queue = self.lock();
        self.metrics.ended(&op);
        let uploaded = match op {
            UploadOp::Index(index) => Some(*index),
            UploadOp::Layer(_)
            | UploadOp::Delete(_)
            | UploadOp::Barrier(_)
            | UploadOp::Shutdown => None,
        };
        // A queue that was stopped meanwhile has forgotten this task.
        let Some(running) = queue.running_or_draining() else { return };
        if let Some(lsn) = running.complete(id, uploaded) {
            self.resources.deletion_queue.update_remote_consistent_lsn(
                self.shard,
                self.timeline,
                self.generation,
                lsn,
                &self.visible_lsn,
            );
        }
        self.launch(running);
    }

    /// Attempts an operation until it succeeds; false if the queue is stopped first.
    async fn retry(&self, op: &UploadOp) -> bool {
        let mut attempt = 0;
        loop {
            // The operation is dropped at an await point of remote storage, which leaves at worst
            // an object that nothing names.
            let result = tokio::select! {
                result = self.perform_timed(op) => result,
                () = self.cancel.cancelled() => {
                    tracing::info!("upload task cancelled by shutdown request");
                    return false;
                }
            };
            let error = match result {
                Ok(()) => break,
                Err(error) => error,
            };
            let text = describe(op);
            if attempt < WARN_THRESHOLD {
                tracing::info!(
                    "failed to perform remote task {text}, will retry (attempt {attempt}): {error}"
                );
            } else {
                tracing::warn!(
                    "failed to perform remote task {text}, will retry (attempt {attempt}): {error}"
                );
            }
            attempt += 1;
            let (base, max) = (DEFAULT_BASE_BACKOFF_SECONDS, DEFAULT_MAX_BACKOFF_SECONDS);
            exponential_backoff(attempt, base, max, &self.cancel).await;
        }
        if attempt > 0 {
            let text = describe(op);
            tracing::info!("remote task {text} completed successfully after {attempt} retries");
        }
        true
    }

    async fn perform_timed(&self, op: &UploadOp) -> Result<(), OpError> {
        match kinds(op) {
            Some(kinds) => timed(kinds, self.perform(op)).await,
            None => self.perform(op).await,
        }
    }

    async fn perform(&self, op: &UploadOp) -> Result<(), OpError> {
        match op {
            UploadOp::Layer(upload) => self.upload_layer(upload).await,
            UploadOp::Index(index) => self.upload_index(index).await,
            UploadOp::Delete(layers) => self.delete_layers(layers).await,
            // Resolved by the queue itself.
            UploadOp::Barrier(_) | UploadOp::Shutdown => Ok(()),
        }
    }

    async fn upload_layer(&self, upload: &LayerUpload) -> Result<(), OpError> {
        utils::pausable_failpoint!("before-upload-layer-pausable");
        fail::fail_point!("before-upload-layer", |_| {
            Err(RemoteStorageError::Simulated("failpoint before-upload-layer".to_owned()).into())
        });
        let LayerUpload { name, metadata, local_path } = upload;
        let actual = match tokio::fs::metadata(local_path).await {
            Ok(file) => file.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_linked(name) => {
                tracing::info!(
                    "File to upload doesn't exist. Likely the file has been deleted and an upload \
                     is not required any more. {local_path}"
                );
                return Ok(());
            }
            Err(source) => return Err(OpError::Open { path: local_path.clone(), source }),
        };
        let expected = metadata.file_size;
        if actual != expected {
            return Err(OpError::Size { path: local_path.clone(), actual, expected });
        }
        let path =
            remote_path(remote_layer_path(&self.shard.tenant_id, &self.timeline, name, metadata))?;
        let storage = &self.resources.storage;
        Ok(storage.upload_file(local_path.clone(), expected, &path, &self.cancel).await?)
    }

    fn is_linked(&self, name: &LayerName) -> bool {
        let mut queue = self.lock();
        queue.running_or_draining().is_some_and(|running| running.is_linked(name))
    }

    async fn upload_index(&self, index: &IndexPart) -> Result<(), OpError> {
        utils::pausable_failpoint!("before-upload-index-pausable");
        fail::fail_point!("before-upload-index", |_| {
            Err(RemoteStorageError::Simulated("failpoint before-upload-index".to_owned()).into())
        });
        self.put_index(index, &self.cancel).await
    }

    /// Uploads an index in our generation, once.
    pub(super) async fn put_index(
        &self,
        index: &IndexPart,
        cancel: &CancellationToken,
    ) -> Result<(), OpError> {
        let path = remote_path(remote_index_path(&self.shard, &self.timeline, self.generation))?;
        let bytes = Bytes::from(index.to_json()?);
        Ok(self.resources.storage.upload_bytes(bytes, &path, cancel).await?)
    }

    async fn delete_layers(
        &self,
        layers: &[(LayerName, LayerFileMetadata)],
    ) -> Result<(), OpError> {
        utils::pausable_failpoint!("before-delete-layer-pausable");
        let deletions = &self.resources.deletion_queue;
        Ok(deletions.push_layers(self.shard, self.timeline, self.generation, layers)?)
    }
}
