//! The prefix in a bucket below which everything is kept.

use std::fmt;
use std::io;

use crate::{RemotePath, RemoteStorageError};

/// A key prefix without slashes at its ends; empty if everything is at the top.
#[derive(Clone, Debug)]
pub(crate) struct KeyPrefix(String);

impl KeyPrefix {
    /// The configured prefix.
    pub(crate) fn new(configured: Option<&str>) -> KeyPrefix {
        KeyPrefix(configured.unwrap_or("").trim_matches('/').to_owned())
    }

    /// The key of an object in the bucket.
    pub(crate) fn key(&self, path: &RemotePath) -> Result<String, RemoteStorageError> {
        match path.as_str() {
            "" => Err(RemoteStorageError::BadInput("an object needs a name".to_owned())),
            name if name.ends_with('/') => {
                Err(RemoteStorageError::BadInput(format!("object name {name} ends in a slash")))
            }
            name => Ok(self.full(name)),
        }
    }

    /// What keys of the bucket begin with whose paths begin with `start`. With an empty one that is
    /// the prefix and a slash, so that no neighbour whose name merely begins alike is meant.
    pub(crate) fn full(&self, start: &str) -> String {
        match self.0.as_str() {
            "" => start.to_owned(),
            prefix => format!("{prefix}/{start}"),
        }
    }

    /// What callers know a key of the bucket as.
    pub(crate) fn path(&self, key: &str) -> Result<RemotePath, RemoteStorageError> {
        let relative = match self.0.as_str() {
            "" => Some(key),
            prefix => key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let path = relative.and_then(|relative| RemotePath::new(relative).ok());
        path.ok_or_else(|| RemoteStorageError::Io {
            action: "understand the listed key",
            path: key.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, "it is not one that this writes"),
        })
    }
}

/// As it follows the name of a bucket.
impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}
