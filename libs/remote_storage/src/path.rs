//! Relative paths of objects, with `/` between components.

use std::fmt;

/// The key of an object, relative to the store's configured root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(String);

/// The text cannot be an object key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid remote path {path:?}: {reason}")]
pub struct RemotePathError {
    /// The text as received.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl RemotePath {
    /// Checks that `path` is relative and cannot leave its root. An empty path is the root; a
    /// final `/` is allowed, for listing.
    pub fn new(path: impl Into<String>) -> Result<RemotePath, RemotePathError> {
        let path = path.into();
        let reason = if path.starts_with('/') {
            "it must be relative"
        } else if path.split('/').any(|part| part == "." || part == "..") {
            "it must not contain . or .."
        } else if path.contains('\0') {
            "it must not contain a zero byte"
        } else {
            return Ok(RemotePath(path));
        };
        Err(RemotePathError { path, reason })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`; the whole key if there is none.
    pub fn object_name(&self) -> &str {
        let trimmed = self.0.trim_end_matches('/');
        trimmed.rsplit_once('/').map_or(trimmed, |(_, name)| name)
    }

    /// What follows `prefix`, if the key begins with it.
    pub fn strip_prefix(&self, prefix: &RemotePath) -> Option<&str> {
        self.0.strip_prefix(&prefix.0)
    }
}

impl TryFrom<String> for RemotePath {
    type Error = RemotePathError;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        RemotePath::new(path)
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
