//! The handle callers use: a backend with concurrency limits, timeouts and cancellation.

use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backend::{
    ByteStream, Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody,
};
use crate::cloud::CloudStore;
use crate::config::{RemoteStorageConfig, RemoteStorageKind};
use crate::metrics::{self, RequestKind};
use crate::s3::S3Bucket;
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
            RemoteStorageKind::S3(s3) => Arc::new(S3Bucket::new(s3, config.timeout)),
            RemoteStorageKind::Azure(azure) => Arc::new(CloudStore::azure(azure)?),
            RemoteStorageKind::Gcs(gcs) => Arc::new(CloudStore::gcs(gcs)?),
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

    /// The same store, but the first `failures` attempts of each distinct operation fail, and
    /// listings come backwards.
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
        let _permit = self.turn(RequestKind::List, &self.reads, cancel).await?;
        let request = self.backend.list(prefix, mode, max_keys, cancel);
        self.bounded(RequestKind::List, cancel, request).await
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
        let _permit = self.turn(RequestKind::Put, &self.writes, cancel).await?;
        let request = self.backend.upload(body, to, metadata, cancel);
        self.bounded(RequestKind::Put, cancel, request).await
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
        let permit = self.turn(RequestKind::Get, &self.reads, cancel).await?;
        let request = self.backend.download(from, start, end, cancel);
        let download = self.bounded(RequestKind::Get, cancel, request).await?;
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
        let _permit = self.turn(RequestKind::Delete, &self.writes, cancel).await?;
        let request = self.backend.delete_objects(paths, cancel);
        self.bounded(RequestKind::Delete, cancel, request).await
    }

    /// Copies an object within the store.
    pub async fn copy(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let _permit = self.turn(RequestKind::Copy, &self.writes, cancel).await?;
        let request = self.backend.copy(from, to, cancel);
        self.bounded(RequestKind::Copy, cancel, request).await
    }

    /// Brings every object below `prefix` back to its state at `timestamp`, in stores that keep
    /// versions. What changed at or after `done_if_after`, the time at which recovery first began,
    /// counts as recovered, so that the call can be repeated after an error. The timeout applies to
    /// each request.
    pub async fn time_travel_recover(
        &self,
        prefix: Option<&RemotePath>,
        timestamp: SystemTime,
        done_if_after: SystemTime,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let _permit = self.turn(RequestKind::TimeTravel, &self.writes, cancel).await?;
        let started = Instant::now();
        let result =
            self.backend.time_travel_recover(prefix, timestamp, done_if_after, cancel).await;
        self.observe(RequestKind::TimeTravel, started, &result);
        result
    }

    async fn bounded<T>(
        &self,
        kind: RequestKind,
        cancel: &CancellationToken,
        operation: impl Future<Output = Result<T, RemoteStorageError>>,
    ) -> Result<T, RemoteStorageError> {
        let started = Instant::now();
        // Dropping the operation gives it up; every caller holds that to be allowed.
        let result = tokio::select! {
            result = tokio::time::timeout(self.timeout, operation) => {
                result.unwrap_or(Err(RemoteStorageError::Timeout(self.timeout)))
            }
            () = cancel.cancelled() => Err(RemoteStorageError::Cancelled),
        };
        self.observe(kind, started, &result);
        result
    }

    fn observe<T>(
        &self,
        kind: RequestKind,
        started: Instant,
        result: &Result<T, RemoteStorageError>,
    ) {
        if self.backend.is_remote() {
            metrics::observe_request(kind, started.elapsed(), result);
        }
    }

    /// Waits until fewer operations than the limit run.
    async fn turn(
        &self,
        kind: RequestKind,
        limit: &Arc<Semaphore>,
        cancel: &CancellationToken,
    ) -> Result<OwnedSemaphorePermit, RemoteStorageError> {
        let started = Instant::now();
        let permit = acquire(limit, cancel).await;
        match (&permit, self.backend.is_remote()) {
            (Ok(_), true) => metrics::observe_wait(kind, started.elapsed()),
            (Err(_), true) => metrics::count_cancelled_wait(kind),
            (_, false) => {}
        }
        permit
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
