//! Why something cannot be done with a timeline.

use std::io;

use camino::Utf8PathBuf;
use postgres_ffi::version::UnsupportedVersion;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::acceptor::AcceptorError;
use wal_quorum::storage::StorageError;

use crate::archive::ArchiveError;
use crate::control_store::ControlStoreError;
use crate::wal_storage::{WalReadError, WalStorageError};

/// A failed operation on a timeline.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// It is being deleted, or an invariant was violated.
    #[error("Timeline {0} was cancelled and cannot be used anymore")]
    Cancelled(TenantTimelineId),
    /// This safekeeper does not have it.
    #[error("Timeline {0} was not found in global map")]
    NotFound(TenantTimelineId),
    /// Its directory is there but could not be loaded; an operator must look at it.
    #[error("Timeline {0} exists on disk, but wasn't loaded on startup")]
    NotLoaded(TenantTimelineId),
    /// It is to be made, and is there.
    #[error("timeline {0} exists already")]
    Exists(TenantTimelineId),
    /// It was deleted lately; a compute that still runs must not bring it back.
    #[error("Timeline {0} is deleted, refusing to recreate")]
    Deleted(TenantTimelineId),
    /// A creator did not say how big segments are.
    #[error("cannot create timeline {0}: wal_seg_size is zero")]
    ZeroSegmentSize(TenantTimelineId),
    /// Only one segment size is supported.
    #[error("cannot create timeline {ttid}: wal_seg_size is {found}, only 16777216 is supported")]
    SegmentSize {
        /// The timeline.
        ttid: TenantTimelineId,
        /// What was asked for.
        found: u32,
    },
    /// A creator did not say which PostgreSQL it is.
    #[error("cannot create timeline {0}: pg_version is unknown")]
    UnknownPgVersion(TenantTimelineId),
    /// A PostgreSQL this program does not know.
    #[error("cannot create timeline {ttid}: {source}")]
    UnsupportedPgVersion {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: UnsupportedVersion,
    },
    /// Positions contradict each other.
    #[error(
        "cannot create timeline {ttid}: commit_lsn {commit_lsn} is below local_start_lsn {local_start_lsn}"
    )]
    CommitBeforeStart {
        /// The timeline.
        ttid: TenantTimelineId,
        /// As asked for.
        commit_lsn: Lsn,
        /// As asked for.
        local_start_lsn: Lsn,
    },
    /// Its WAL is in object storage only and was not brought back first.
    #[error("timeline {0} is offloaded, can't get a guard")]
    Offloaded(TenantTimelineId),
    /// The WAL brought back from object storage is not what was moved there.
    #[error(
        "cannot restore timeline {ttid}: its WAL was offloaded at {expected}, but what came back ends at {found}"
    )]
    RestoredElsewhere {
        /// The timeline.
        ttid: TenantTimelineId,
        /// Where the WAL ended.
        expected: Lsn,
        /// Where it ends now.
        found: Lsn,
    },
    /// The end of the WAL cannot be cut off.
    #[error("cannot truncate the WAL of timeline {ttid}: {source}")]
    Truncate {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: WalStorageError,
    },
    /// Object storage is needed and not configured.
    #[error("timeline {0} needs object storage, and option --remote-storage is not set")]
    NoArchive(TenantTimelineId),
    /// The local segment and its copy in object storage differ.
    #[error("segment {segment} of timeline {ttid} is not what object storage has: {reason}")]
    SegmentMismatch {
        /// The timeline.
        ttid: TenantTimelineId,
        /// File name of the segment.
        segment: String,
        /// What differs.
        reason: String,
    },
    /// No partial segment in object storage belongs to an offloaded timeline.
    #[error("timeline {0} is offloaded, but its control file names no uploaded segment")]
    NothingUploaded(TenantTimelineId),
    /// The manager did not make the WAL available in time.
    #[error("timeout while acquiring WalResidentTimeline guard of timeline {0}")]
    ResidenceTimeout(TenantTimelineId),
    /// The WAL could not be made available.
    #[error("error while acquiring WalResidentTimeline guard of timeline {ttid}: {reason}")]
    Residence {
        /// The timeline.
        ttid: TenantTimelineId,
        /// What the manager said.
        reason: String,
    },
    /// The control file of one timeline lies in the directory of another.
    #[error("control file in {dir} belongs to timeline {found}")]
    ForeignControlFile {
        /// Where it lies.
        dir: Utf8PathBuf,
        /// Whose it is.
        found: TenantTimelineId,
    },
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
    /// The control file cannot be read.
    #[error(transparent)]
    ControlStore(#[from] ControlStoreError),
    /// The control file cannot be replaced.
    #[error("cannot persist the state of timeline {ttid}: {source}")]
    ControlFile {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: StorageError,
    },
    /// The WAL cannot be opened.
    #[error("cannot open the WAL of timeline {ttid}: {source}")]
    Open {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: WalStorageError,
    },
    /// The WAL cannot be read.
    #[error("cannot read the WAL of timeline {ttid}: {source}")]
    Read {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: WalReadError,
    },
    /// WAL files cannot be removed.
    #[error("cannot remove WAL of timeline {ttid}: {source}")]
    Remove {
        /// The timeline.
        ttid: TenantTimelineId,
        /// The cause.
        source: WalStorageError,
    },
    /// Archived WAL cannot be deleted.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The consensus refused, or its storage failed.
    #[error(transparent)]
    Acceptor(#[from] AcceptorError),
}

impl TimelineError {
    /// Wraps an I/O error with what was attempted on which path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| TimelineError::Io { action, path, source }
    }
}
