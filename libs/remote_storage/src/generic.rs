//! The handle callers use: a backend with concurrency limits, timeouts and cancellation.

use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backend::{
    ByteStream, Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody,
};
use crate::config::{RemoteStorageConfig, RemoteStorageKind};
use crate::{LocalFs, RemotePath, RemoteStorageError, Unreliable};

/// Configured access to the remote store. Cheap to clone.
#[derive(Clone)]
pub struct GenericRemoteStorage {
    backend: Arc<dyn RemoteStorage>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    timeout: Duration,
}

impl GenericRemoteStorage {
    /// Opens the store the configuration names. Makes the directory of a local one.
    pub fn from_config(config: &RemoteStorageConfig) -> Result<Self, RemoteStorageError> {
        let backend: Arc<dyn RemoteStorage> = match &config.kind {
            RemoteStorageKind::LocalFs { local_path } => {
                Arc::new(LocalFs::new(local_path.clone())?)
            }
        };
        Ok(Self::new(backend, config.timeout))
    }

    /// Wraps a backend.
    pub fn new(backend: Arc<dyn RemoteStorage>, timeout: Duration) -> Self {
        let limit = backend.concurrency_limit();
        Self {
            backend,
            reads: Arc::new(Semaphore::new(limit)),
            writes: Arc::new(Semaphore::new(limit)),
            timeout,
        }
    }

    /// The same store, but the first `failures` attempts of each distinct operation fail.
    pub fn with_simulated_failures(&self, failures: u32) -> Self {
        let backend = Arc::new(Unreliable::new(Arc::clone(&self.backend), failures));
        Self::new(backend, self.timeout)
    }

    /// A short description for log lines.
    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// Lists keys and, with a delimiter, prefixes.
    pub async fn list(
        &self,
        prefix: Option<&RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        cancel: &CancellationToken,
    ) -> Result<Listing, RemoteStorageError> {
        let _permit = acquire(&self.reads, cancel).await?;
        self.bounded(cancel, self.backend.list(prefix, mode, max_keys, cancel)).await
    }

    /// Uploads bytes held in memory.
    pub async fn upload_bytes(
        &self,
        bytes: Bytes,
        to: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        self.upload(UploadBody::Bytes(bytes), to, None, cancel).await
    }

    /// Uploads a local file, which must be `size_bytes` long.
    pub async fn upload_file(
        &self,
        path: impl Into<Utf8PathBuf>,
        size_bytes: u64,
        to: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        self.upload(UploadBody::File { path: path.into(), size_bytes }, to, None, cancel).await
    }

    /// Uploads any body, replacing an object of the same key.
    pub async fn upload(
        &self,
        body: UploadBody,
        to: &RemotePath,
        metadata: Option<StorageMetadata>,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let _permit = acquire(&self.writes, cancel).await?;
        self.bounded(cancel, self.backend.upload(body, to, metadata, cancel)).await
    }

    /// Starts reading an object. The read permit is held for the whole transfer; the timeout
    /// applies to each chunk.
    pub async fn download(
        &self,
        from: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<Download, RemoteStorageError> {
        self.download_range(from, 0, Bound::Unbounded, cancel).await
    }

    /// Starts reading part of an object.
    pub async fn download_range(
        &self,
        from: &RemotePath,
        start: u64,
        end: Bound<u64>,
        cancel: &CancellationToken,
    ) -> Result<Download, RemoteStorageError> {
        let permit = acquire(&self.reads, cancel).await?;
        let download =
            self.bounded(cancel, self.backend.download(from, start, end, cancel)).await?;
        let stream = guarded(download.stream, permit, self.timeout, cancel.clone());
        Ok(Download { stream, ..download })
    }

    /// Reads a whole small object into memory.
    pub async fn download_bytes(
        &self,
        from: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<Bytes, RemoteStorageError> {
        self.download(from, cancel).await?.collect(from).await
    }

    /// Deletes one object; an absent one is no error.
    pub async fn delete(
        &self,
        path: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        self.delete_objects(std::slice::from_ref(path), cancel).await
    }

    /// Deletes objects; absent ones are no error.
    pub async fn delete_objects(
        &self,
        paths: &[RemotePath],
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let _permit = acquire(&self.writes, cancel).await?;
        self.bounded(cancel, self.backend.delete_objects(paths, cancel)).await
    }

    /// Copies an object within the store.
    pub async fn copy(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let _permit = acquire(&self.writes, cancel).await?;
        self.bounded(cancel, self.backend.copy(from, to, cancel)).await
    }

    async fn bounded<T>(
        &self,
        cancel: &CancellationToken,
        operation: impl Future<Output = Result<T, RemoteStorageError>>,
    ) -> Result<T, RemoteStorageError> {
        tokio::select! {
            result = tokio::time::timeout(self.timeout, operation) => {
                result.unwrap_or(Err(RemoteStorageError::Timeout(self.timeout)))
            }
            () = cancel.cancelled() => Err(RemoteStorageError::Cancelled),
        }
    }
}

async fn acquire(
    limit: &Arc<Semaphore>,
    cancel: &CancellationToken,
) -> Result<OwnedSemaphorePermit, RemoteStorageError> {
    tokio::select! {
        // The semaphore is never closed; were it, "cancelled" is what callers can act on.
        permit = Arc::clone(limit).acquire_owned() => {
            permit.map_err(|_| RemoteStorageError::Cancelled)
        }
        () = cancel.cancelled() => Err(RemoteStorageError::Cancelled),
    }
}

/// Ends a stream with an error when a chunk is late or on cancellation, and holds the permit as long
/// as the stream lives.
fn guarded(
    stream: ByteStream,
    permit: OwnedSemaphorePermit,
    timeout: Duration,
    cancel: CancellationToken,
) -> ByteStream {
    let state = Some((stream, permit, cancel));
    futures::stream::unfold(state, move |state| async move {
        let (mut stream, permit, cancel) = state?;
        let failure = tokio::select! {
            item = stream.next() => return match item {
                Some(Ok(chunk)) => Some((Ok(chunk), Some((stream, permit, cancel)))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            },
            () = tokio::time::sleep(timeout) => RemoteStorageError::Timeout(timeout),
            () = cancel.cancelled() => RemoteStorageError::Cancelled,
        };
        Some((Err(std::io::Error::other(failure)), None))
    })
    .boxed()
}
