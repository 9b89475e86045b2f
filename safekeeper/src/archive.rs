//! Complete WAL segments in object storage.
//!
//! Key of a segment: `<tenant>/<timeline>/<segment name>`; its body is the file. Writing the
//! same segment twice is harmless: only committed WAL is archived, so the bytes are equal.

use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use postgres_ffi::xlog::segment_file_name;
use remote_storage::{GenericRemoteStorage, ListMode, RemotePath, RemoteStorageError};
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
