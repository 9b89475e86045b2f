//! The node id file: which safekeeper a data directory belongs to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};

use camino::{Utf8Path, Utf8PathBuf};
use utils::NodeId;

/// Name of the file in the data directory: the id in decimal, nothing else.
pub const NODE_ID_FILE: &str = "safekeeper.id";

/// The id cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum NodeIdError {
    /// The file system refused.
    #[error("cannot {action} node id file {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("node id file {path} holds {content:?}, expected a decimal number")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// What it holds.
        content: String,
    },
    /// The directory belongs to another safekeeper.
    #[error("--id is {given}, but {path} says this data directory belongs to safekeeper {stored}")]
    Mismatch {
        /// The file.
        path: Utf8PathBuf,
        /// From the command line.
        given: NodeId,
        /// From the file.
        stored: NodeId,
    },
    /// First start without an id.
    #[error("data directory {dir} has no node id yet: give one with --id on the first start")]
    Missing {
        /// The data directory.
        dir: Utf8PathBuf,
    },
}

/// The stored id; on the first start stores the `given` one.
pub fn read_or_create(dir: &Utf8Path, given: Option<NodeId>) -> Result<NodeId, NodeIdError> {
    let path = dir.join(NODE_ID_FILE);
    match (read(&path)?, given) {
        (Some(stored), Some(given)) if stored != given => {
            Err(NodeIdError::Mismatch { path, given, stored })
        }
        (Some(stored), _) => Ok(stored),
        (None, Some(given)) => {
            write(dir, &path, given)?;
            Ok(given)
        }
        (None, None) => Err(NodeIdError::Missing { dir: dir.into() }),
    }
}

fn read(path: &Utf8Path) -> Result<Option<NodeId>, NodeIdError> {
    let content = match fs::read(path) {
        Ok(content) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(NodeIdError::Io { action: "read", path: path.into(), source }),
    };
    match content.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Err(NodeIdError::Malformed { path: path.into(), content }),
    }
}

fn write(dir: &Utf8Path, path: &Utf8Path, id: NodeId) -> Result<(), NodeIdError> {
    let temporary = dir.join(format!("{NODE_ID_FILE}.tmp"));
    let attempt = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(id.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    attempt().map_err(|source| NodeIdError::Io { action: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests;
