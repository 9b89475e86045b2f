//! What can go wrong with WAL on disk.

use std::io;

use camino::Utf8PathBuf;
use postgres_ffi::version::UnsupportedVersion;
use utils::Lsn;
use wal_decoder::stream::WalDecodeError;

/// A failed operation on a timeline's WAL files.
#[derive(Debug, thiserror::Error)]
pub enum WalStorageError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk did not confirm a write.
    #[error("cannot sync {path}: {source}")]
    Sync {
        /// What was being synced.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An earlier sync failed, so what the kernel still holds can no longer be trusted.
    #[error(
        "WAL storage is unusable since a failed sync ({reason}); restart the safekeeper once the disk is healthy"
    )]
    Poisoned {
        /// The sync that failed.
        reason: String,
    },
    /// A write below the end of what is written.
    #[error("write_wal rewrites WAL written before: write_lsn {write_lsn}, write at {start}")]
    Rewrite {
        /// End of the bytes written.
        write_lsn: Lsn,
        /// Where the write begins.
        start: Lsn,
    },
    /// A write beyond the end of what is written.
    #[error("write_wal creates gap in written WAL: write_lsn {write_lsn}, write at {start}")]
    Gap {
        /// End of the bytes written.
        write_lsn: Lsn,
        /// Where the write begins.
        start: Lsn,
    },
    /// A write before the leader truncated what a restart or a failure left above the end.
    #[error("write at {start} refused: WAL above {write_lsn} has not been truncated yet")]
    NotTruncated {
        /// End of the bytes known good.
        write_lsn: Lsn,
        /// Where the write begins.
        start: Lsn,
    },
    /// A truncation to a position that was never written.
    #[error("cannot truncate WAL to {end}, which is beyond its end {write_lsn}")]
    TruncateBeyondEnd {
        /// Requested end.
        end: Lsn,
        /// End of the bytes written.
        write_lsn: Lsn,
    },
    /// The end of WAL is inside a segment, yet that segment is not open.
    #[error("cannot flush WAL: no segment is open although write_lsn {write_lsn} is inside one")]
    NoOpenSegment {
        /// End of the bytes written.
        write_lsn: Lsn,
    },
    /// The bytes received are not WAL of this version.
    #[error("WAL written at {start} does not decode: {source}")]
    Decode {
        /// Where the offending write began.
        start: Lsn,
        /// The cause.
        source: WalDecodeError,
    },
    /// The cluster's version is not one this program knows.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An error asked for by a test.
    #[error("failpoint: {0}")]
    Failpoint(&'static str),
}

impl WalStorageError {
    /// Wraps an I/O error with what was attempted on which path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| WalStorageError::Io { action, path, source }
    }

    /// Wraps a failed sync of `path`.
    pub(crate) fn sync(path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| WalStorageError::Sync { path, source }
    }
}
