//! Configuration of the remote store: the `remote_storage` table of a daemon's TOML file.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// Time an operation may take once it got its turn.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// A `remote_storage` table. The kind of store follows from the keys that are present.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct RemoteStorageConfig {
    /// Where objects are.
    pub kind: RemoteStorageKind,
    /// Time an operation may take once it got its turn; default 120 s.
    pub timeout: Duration,
}

/// The supported stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteStorageKind {
    /// A directory of this machine (`local_path`).
    LocalFs {
        /// The directory; made if absent.
        local_path: Utf8PathBuf,
    },
}

/// The table as written.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    local_path: Option<Utf8PathBuf>,
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
}

/// The table names no store.
#[derive(Debug, thiserror::Error)]
#[error("remote_storage needs the key local_path (a directory)")]
pub struct MissingStore;

impl TryFrom<Keys> for RemoteStorageConfig {
    type Error = MissingStore;

    fn try_from(keys: Keys) -> Result<Self, MissingStore> {
        let local_path = keys.local_path.ok_or(MissingStore)?;
        let kind = RemoteStorageKind::LocalFs { local_path };
        Ok(RemoteStorageConfig { kind, timeout: keys.timeout.unwrap_or(DEFAULT_TIMEOUT) })
    }
}

impl From<RemoteStorageConfig> for Keys {
    fn from(config: RemoteStorageConfig) -> Keys {
        let RemoteStorageKind::LocalFs { local_path } = config.kind;
        let timeout = (config.timeout != DEFAULT_TIMEOUT).then_some(config.timeout);
        Keys { local_path: Some(local_path), timeout }
    }
}

#[cfg(test)]
mod tests;
