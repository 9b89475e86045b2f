//! The crate's errors as ours.

use std::io;

use object_store::Error;

use crate::RemoteStorageError;

/// What stores say when it is the container or bucket that is absent.
const ABSENT_STORE: [&str; 3] =
    ["ContainerNotFound", "specified container does not exist", "specified bucket does not exist"];

/// Maps a failed request. A container that is missing must not look like data that is gone.
pub(super) fn map(action: &'static str, path: &str, error: Error) -> RemoteStorageError {
    let text = error.to_string();
    let is_absent_store = ABSENT_STORE.iter().any(|phrase| text.contains(phrase));
    match error {
        Error::NotFound { .. } if !is_absent_store => RemoteStorageError::NotFound(path.to_owned()),
        error => RemoteStorageError::Io {
            action,
            path: path.to_owned(),
            source: io::Error::other(error),
        },
    }
}

/// The configuration does not lead to a store.
pub(super) fn not_opened(error: &Error) -> RemoteStorageError {
    RemoteStorageError::BadInput(format!("cannot open the store: {error}"))
}
