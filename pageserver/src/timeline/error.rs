//! Errors of a timeline's operations.

use std::sync::Arc;

use camino::Utf8PathBuf;
use pageserver_api::Key;
use utils::{Lsn, TimelineId};

use crate::layers::LayerAccessError;
use crate::layers::layer::GatherError;
use crate::layers::reconstruct::ValueError;
use crate::redo::ReconstructError;
use crate::remote::QueueError;

/// The LSN lies below what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "LSN {lsn} is earlier than latest GC horizon {cutoff} (we might've already garbage collected needed data)"
)]
pub struct ReadBelowCutoff {
    /// The LSN asked for.
    pub lsn: Lsn,
    /// The lowest LSN that can be read.
    pub cutoff: Lsn,
}

/// One key could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PageReconstructError {
    /// No layer has the key.
    #[error("{0}")]
    MissingKey(Box<MissingKey>),
    /// The timeline is shutting down.
    #[error("timeline is shutting down")]
    Cancelled,
    /// The ancestor cannot serve the read.
    #[error("ancestor timeline {ancestor} cannot serve the read: {reason}")]
    Ancestor {
        /// The ancestor.
        ancestor: TimelineId,
        /// Why.
        reason: String,
    },
    /// A layer could not be read.
    #[error(transparent)]
    Layer(Box<GatherError>),
    /// A value could not be read.
    #[error(transparent)]
    Value(ValueError),
    /// LSN 0 is no position.
    #[error("Invalid LSN")]
    InvalidLsn,
    /// The value could not be reconstructed from what was gathered.
    #[error("could not reconstruct {key} at {lsn}: {source}")]
    Redo {
        /// The key.
        key: Key,
        /// The LSN.
        lsn: Lsn,
        /// Why.
        source: Arc<ReconstructError>,
    },
}

/// Where a key was looked for in vain.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "could not find data for key {key} (shard {shard}) at LSN {cont_lsn}, request LSN {request_lsn}{}",
    .ancestor_lsn.map(|lsn| format!(", ancestor {lsn}")).unwrap_or_default()
)]
pub struct MissingKey {
    /// The key.
    pub key: Key,
    /// The shard number it belongs to.
    pub shard: u8,
    /// Where the search ended.
    pub cont_lsn: Lsn,
    /// Where it began.
    pub request_lsn: Lsn,
    /// The branch point, if the timeline has an ancestor.
    pub ancestor_lsn: Option<Lsn>,
}

impl PageReconstructError {
    /// Whether the read ended because the timeline goes away.
    pub fn is_cancelled(&self) -> bool {
        match self {
            PageReconstructError::Cancelled => true,
            PageReconstructError::Layer(error) => {
                matches!(error.source, LayerAccessError::Cancelled)
            }
            PageReconstructError::MissingKey(_)
            | PageReconstructError::Ancestor { .. }
            | PageReconstructError::Value(_)
            | PageReconstructError::InvalidLsn
            | PageReconstructError::Redo { .. } => false,
        }
    }

    /// Whether no layer has the key.
    pub fn is_missing_key(&self) -> bool {
        matches!(self, PageReconstructError::MissingKey(_))
    }
}

/// A read of many keys failed as a whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GetVectoredError {
    /// Some key could not be looked for, or is in no layer.
    #[error(transparent)]
    Read(#[from] PageReconstructError),
    /// Too many keys at once.
    #[error("Requested too many keys: {wanted}, at most {max} are allowed")]
    Oversized {
        /// Keys requested.
        wanted: u64,
        /// Keys allowed.
        max: u64,
    },
    /// A range that is not sparse metadata cannot be scanned.
    #[error("only metadata keys can be scanned, not {start}..{end}")]
    NotScannable {
        /// Start of the range.
        start: Key,
        /// Its end.
        end: Key,
    },
}

/// Waiting for an LSN ended early.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WaitLsnError {
    /// The timeline is shutting down.
    #[error("timeline is shutting down")]
    Shutdown,
    /// The timeline does not take WAL in its state.
    #[error("Bad state (not active): {0}")]
    BadState(String),
    /// The WAL did not come.
    #[error("{0}")]
    Timeout(String),
}

/// Values could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The timeline is shutting down.
    #[error("the timeline is shutting down and takes no writes")]
    Cancelled,
    /// The open layer could not be made or written.
    #[error("cannot write to the open layer in {directory}: {source}")]
    OpenLayer {
        /// The timeline's directory.
        directory: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The batch goes backwards, or below what was frozen.
    #[error("cannot write at {lsn}: everything below {floor} is complete")]
    Backwards {
        /// LSN of the offending value.
        lsn: Lsn,
        /// The lowest LSN that may be written.
        floor: Lsn,
    },
}

/// In-memory data could not be made durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FlushError {
    /// The timeline is shutting down.
    #[error("timeline shutting down")]
    Cancelled,
    /// Nobody flushes any more.
    #[error("cannot flush frozen layers when flush_loop is not running, state is {0}")]
    NotRunning(&'static str),
    /// The layer could not be written.
    #[error("could not flush frozen layer: {0}")]
    WriteOut(Arc<crate::layers::in_memory::WriteOutError>),
    /// The upload could not be scheduled.
    #[error("could not flush frozen layer: scheduling its upload: {0}")]
    Queue(QueueError),
    /// A failpoint asked for it.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

/// A timeline could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTimelineError {
    /// Something of that name is there.
    #[error("Timeline directory already exists! This is a bug. ({0})")]
    DirectoryExists(Utf8PathBuf),
    /// The directory could not be made.
    #[error("cannot create timeline directory {path}: {source}")]
    Directory {
        /// The directory.
        path: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The metadata names a PostgreSQL version that is not supported.
    #[error(transparent)]
    Version(#[from] postgres_ffi::version::UnsupportedVersion),
    /// The metadata names an ancestor that was not provided.
    #[error("ancestor timeline {0} is not loaded")]
    AncestorMissing(TimelineId),
    /// A failpoint asked for it.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

/// A timeline could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadTimelineError {
    /// The parts that loading shares with creation failed.
    #[error(transparent)]
    Create(#[from] CreateTimelineError),
    /// The directory could not be read or cleaned.
    #[error("cannot {action} {path}: {source}")]
    Directory {
        /// What was attempted.
        action: &'static str,
        /// The file or directory.
        path: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory holds files of unknown kinds.
    #[error("unrecognized files in timeline dir (total {total}), first 10: {first:?}")]
    Unrecognized {
        /// How many.
        total: usize,
        /// Some of their names.
        first: Vec<String>,
    },
    /// The removal of layers from the future could not be scheduled.
    #[error("cannot schedule the removal of future layers: {0}")]
    Queue(#[from] QueueError),
}
