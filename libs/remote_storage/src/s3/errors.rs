//! The SDK's errors as the crate's.

use std::io;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::RemoteStorageError;

/// Codes that say the object, and not its bucket, is absent.
const ABSENT_CODES: [&str; 2] = ["NoSuchKey", "NoSuchVersion"];

/// Maps a failed request. Only an answer that names the object as absent is `NotFound`: a bucket
/// that is missing, or a proxy's page of status 404, must not look like data that is gone.
pub(super) fn map<E, R>(
    action: &'static str,
    path: &str,
    error: SdkError<E, R>,
) -> RemoteStorageError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error.code() {
        Some(code) if ABSENT_CODES.contains(&code) => RemoteStorageError::NotFound(path.to_owned()),
        Some("InvalidRange") => RemoteStorageError::BadInput(format!(
            "{path}: the range begins at or behind the end of the object"
        )),
        _ => failed(action, path, DisplayErrorContext(error).to_string()),
    }
}

/// A failure that is told in words.
pub(super) fn failed(
    action: &'static str,
    path: &str,
    reason: impl Into<String>,
) -> RemoteStorageError {
    let source = io::Error::other(reason.into());
    RemoteStorageError::Io { action, path: path.to_owned(), source }
}
