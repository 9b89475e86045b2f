//! WAL segments in object storage.
//!
//! Key of a segment: `<tenant>/<timeline>/<segment name>`; its body is the file. Writing the
//! same segment twice is harmless: only committed WAL is archived, so the bytes are equal.
//! Partial segments lie beside them, each safekeeper's under names of its own.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::{Bound, Range};
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures::StreamExt;
use postgres_ffi::xlog::segment_file_name;
use remote_storage::{GenericRemoteStorage, ListMode, RemotePath, RemoteStorageError, UploadBody};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use utils::{Lsn, TenantTimelineId};

use crate::wal_storage::{SEGMENT_SIZE, segno};

/// Objects deleted per round trip.
const DELETE_BATCH_SIZE: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// Failures of a deletion that are worth a warning, and those that end it.
const DELETE_WARN_AFTER: u32 = 3;
const DELETE_MAX_RETRIES: u32 = 10;
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// An operation on archived WAL failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} archived WAL of timeline {ttid}: {source}")]
pub struct ArchiveError {
    /// What was attempted.
    pub action: &'static str,
    /// Whose WAL.
    pub ttid: TenantTimelineId,
    /// The cause.
    pub source: RemoteStorageError,
}

/// Where this safekeeper archives WAL.
#[derive(Clone)]
pub struct WalArchive {
    storage: GenericRemoteStorage,
}

impl std::fmt::Debug for WalArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalArchive").field("storage", &self.storage.describe()).finish()
    }
}

impl WalArchive {
    /// An archive in this store.
    pub fn new(storage: GenericRemoteStorage) -> Self {
        Self { storage }
    }

    /// Archives the complete segment in `file`.
    pub async fn upload_segment(
        &self,
        ttid: TenantTimelineId,
        segno: u64,
        file: Utf8PathBuf,
        cancel: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError { action: "upload", ttid, source };
        let key = key(ttid, &segment_file_name(segno)).map_err(failed)?;
        self.storage.upload_file(file, SEGMENT_SIZE, &key, cancel).await.map_err(failed)
    }

    /// Archives the first `length` bytes of `file` as the partial segment `name`.
    pub async fn upload_partial(
        &self,
        ttid: TenantTimelineId,
        name: &str,
        file: Option<std::fs::File>,
        length: u64,
        cancel: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError { action: "upload", ttid, source };
        let key = key(ttid, name).map_err(failed)?;
        let body = match file {
            Some(file) if length > 0 => {
                let content = tokio::fs::File::from_std(file).take(length);
                UploadBody::Stream {
                    stream: ReaderStream::new(content).boxed(),
                    size_bytes: length,
                }
            }
            // At a segment's very start there is nothing to archive yet, not even a file.
            Some(_) | None => UploadBody::Bytes(Bytes::new()),
        };
        let metadata = HashMap::from([("sk_type".to_owned(), "partial_segment".to_owned())]);
        self.storage.upload(body, &key, Some(metadata), cancel).await.map_err(failed)
    }

    /// A whole partial segment, at most as long as a segment.
    pub async fn download_partial(
        &self,
        ttid: TenantTimelineId,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Bytes, ArchiveError> {
        let failed = |source| ArchiveError { action: "download", ttid, source };
        let key = key(ttid, name).map_err(failed)?;
        let end = Bound::Excluded(SEGMENT_SIZE + 1);
        let download = self.storage.download_range(&key, 0, end, cancel).await.map_err(failed)?;
        download.collect(&key).await.map_err(failed)
    }

    /// Deletes objects of a timeline; absent ones are no error.
    pub async fn delete_objects(
        &self,
        ttid: TenantTimelineId,
        names: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError { action: "delete", ttid, source };
        let keys: Result<Vec<_>, _> = names.iter().map(|name| key(ttid, name)).collect();
        let keys = keys.map_err(failed)?;
        self.storage.delete_objects(&keys, cancel).await.map_err(failed)
    }

    /// Copies complete segments to another timeline of the archive, those that it lacks.
    pub async fn copy_segments(
        &self,
        from: TenantTimelineId,
        to: TenantTimelineId,
        segments: Range<u64>,
        cancel: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError { action: "copy", ttid: to, source };
        let prefix = key(to, "").map_err(failed)?;
        let mode = ListMode::NoDelimiter;
        let listing = self.storage.list(Some(&prefix), mode, None, cancel).await.map_err(failed)?;
        for segno in segments {
            let name = segment_file_name(segno);
            let target = key(to, &name).map_err(failed)?;
            if !listing.keys.contains(&target) {
                let source = key(from, &name).map_err(failed)?;
                self.storage.copy(&source, &target, cancel).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// `length` bytes of WAL from `position` on, which must lie in one segment.
    pub async fn read(
        &self,
        ttid: TenantTimelineId,
        position: Lsn,
        length: usize,
        cancel: &CancellationToken,
    ) -> Result<Bytes, ArchiveError> {
        let failed = |source| ArchiveError { action: "read", ttid, source };
        let key = key(ttid, &segment_file_name(segno(position))).map_err(failed)?;
        let start = position.segment_offset(SEGMENT_SIZE);
        let end = Bound::Excluded(start + length as u64);
        let download =
            self.storage.download_range(&key, start, end, cancel).await.map_err(failed)?;
        let bytes = download.collect(&key).await.map_err(failed)?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(failed(RemoteStorageError::BadInput(format!(
                "{} of {length} bytes found at offset {start} of {}",
                bytes.len(),
                key.as_str()
            )))),
        }
    }

    /// Deletes everything archived of a timeline. Several safekeepers may do so at once.
    pub async fn delete_timeline(
        &self,
        ttid: TenantTimelineId,
        cancel: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let mut failures = 0;
        loop {
            match self.delete_batch(ttid, cancel).await {
                Ok(true) => failures = 0,
                Ok(false) => return Ok(()),
                Err(source) if source.is_permanent() || failures >= DELETE_MAX_RETRIES => {
                    return Err(ArchiveError { action: "delete", ttid, source });
                }
                Err(error) => {
                    failures += 1;
                    if failures > DELETE_WARN_AFTER {
                        tracing::warn!("deleting archived WAL of timeline {ttid}: {error}");
                    }
                    tokio::time::sleep((RETRY_BASE * 2u32.pow(failures)).min(RETRY_MAX)).await;
                }
            }
        }
    }

    /// Whether there was something to delete.
    async fn delete_batch(
        &self,
        ttid: TenantTimelineId,
        cancel: &CancellationToken,
    ) -> Result<bool, RemoteStorageError> {
        let prefix = key(ttid, "")?;
        let batch = Some(DELETE_BATCH_SIZE);
        let listing =
            self.storage.list(Some(&prefix), ListMode::NoDelimiter, batch, cancel).await?;
        if listing.keys.is_empty() {
            return Ok(false);
        }
        self.storage.delete_objects(&listing.keys, cancel).await?;
        Ok(true)
    }
}

fn key(ttid: TenantTimelineId, name: &str) -> Result<RemotePath, RemoteStorageError> {
    RemotePath::new(format!("{ttid}/{name}"))
        .map_err(|error| RemoteStorageError::BadInput(error.to_string()))
}
