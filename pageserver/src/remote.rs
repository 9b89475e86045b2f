//! A timeline in remote storage: its upload queue, its index, downloads and deletions.
//!
//! What the index does not name does not exist, so everything here is about order: layers before
//! the index that names them, the index before the deletion of what it no longer names. The order
//! is kept by [`queue`], which does no I/O; [`client`] executes it.
//!
//! Objects carry the generation of their writer. Uploads therefore never overwrite those of
//! another node, and need no permission; deletions do (see [`deletion_queue`](crate::deletion_queue)).

mod client;
mod download;
mod index;
mod metrics;
mod queue;
#[cfg(test)]
pub mod testing;

use remote_storage::{GenericRemoteStorage, RemotePath, RemotePathError, RemoteStorageError};

use crate::control_plane::ControlPlane;
use crate::deletion_queue::DeletionQueueClient;

pub use client::{DeleteTimelineError, Progress, RemoteTimelineClient, WaitCompletionError};
pub use download::download_layer_file;
pub use index::{download_index, list_timelines};
pub use queue::QueueError;

/// What remote work of every timeline shares.
#[derive(Clone)]
pub struct RemoteResources {
    /// The store.
    pub storage: GenericRemoteStorage,
    /// Where deletions go.
    pub deletion_queue: DeletionQueueClient,
    /// Who says which generations are current.
    pub control_plane: ControlPlane,
    /// Where uploads run.
    pub runtime: tokio::runtime::Handle,
}

/// Why something could not be had from remote storage.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is no such object.
    #[error("{0} not found in remote storage")]
    NotFound(String),
    /// The caller gave up.
    #[error("download cancelled")]
    Cancelled,
    /// The object is not what it should be.
    #[error("remote object {path} is corrupt: {reason}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path could not be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The store failed.
    #[error("Failed to download a remote file: {0}")]
    Storage(#[source] RemoteStorageError),
    /// The local side failed.
    #[error("cannot {action} {path}: {source}")]
    Local {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: camino::Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DownloadError {
    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        match self {
            DownloadError::NotFound(_)
            | DownloadError::Cancelled
            | DownloadError::Corrupt { .. }
            | DownloadError::Path(_) => true,
            DownloadError::Storage(error) => error.is_permanent(),
            DownloadError::Local { .. } => false,
        }
    }
}

impl From<RemoteStorageError> for DownloadError {
    fn from(error: RemoteStorageError) -> Self {
        match error {
            RemoteStorageError::NotFound(path) => DownloadError::NotFound(path),
            RemoteStorageError::Cancelled => DownloadError::Cancelled,
            RemoteStorageError::BadInput(_)
            | RemoteStorageError::Timeout(_)
            | RemoteStorageError::Io { .. }
            | RemoteStorageError::Simulated(_) => DownloadError::Storage(error),
        }
    }
}

/// A path made of ids and layer names, which contain nothing that a path may not.
fn remote_path(path: String) -> Result<RemotePath, RemotePathError> {
    RemotePath::new(path)
}
