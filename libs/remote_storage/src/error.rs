//! The one error type every backend maps to.

use std::time::Duration;

/// An operation on the remote store did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteStorageError {
    /// The request cannot be right, whatever the state of the store.
    #[error("invalid remote storage request: {0}")]
    BadInput(String),
    /// There is no such object.
    #[error("remote object {0} not found")]
    NotFound(String),
    /// The caller's token was cancelled.
    #[error("remote storage operation cancelled")]
    Cancelled,
    /// The operation took longer than configured.
    #[error("timeout: remote storage operation took longer than {0:?}")]
    Timeout(Duration),
    /// The store, or the local side of a transfer, failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted, such as `upload`.
        action: &'static str,
        /// The object.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A failure injected for tests.
    #[error("simulated failure of remote operation {0}")]
    Simulated(String),
}

impl RemoteStorageError {
    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        match self {
            RemoteStorageError::BadInput(_)
            | RemoteStorageError::NotFound(_)
            | RemoteStorageError::Cancelled => true,
            RemoteStorageError::Timeout(_)
            | RemoteStorageError::Io { .. }
            | RemoteStorageError::Simulated(_) => false,
        }
    }

    /// Whether the object is absent.
    pub fn is_not_found(&self) -> bool {
        matches!(self, RemoteStorageError::NotFound(_))
    }

    /// Whether the operation was given up because the caller asked for it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, RemoteStorageError::Cancelled)
    }
}
