//! A timeline's control file on disk.
//!
//! The file is always replaced as a whole: the new content goes to a temporary name, is made
//! durable, and takes the real name in one step. The format belongs to `wal_quorum`.

use std::fs;
use std::io;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use wal_quorum::control_file::{ControlFile, ControlFileError};
use wal_quorum::storage::{ControlStore, StorageError};

use crate::durability::Durability;
use crate::files::{self, Access, Files};
use crate::metrics;

/// Name of the control file in a timeline's directory.
pub const CONTROL_FILE_NAME: &str = "safekeeper.control";
/// Where a new content is prepared.
pub const CONTROL_FILE_TEMPORARY_NAME: &str = "safekeeper.control.partial";

/// A control file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum ControlStoreError {
    /// The file system refused.
    #[error("cannot {action} control file {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is damaged or of an unknown version.
    #[error("control file {path} is not usable: {source}")]
    Format {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: ControlFileError,
    },
    /// An earlier sync failed.
    #[error("control file {path} is not written any more since a failed sync: {reason}")]
    Poisoned {
        /// The file.
        path: Utf8PathBuf,
        /// The sync that failed.
        reason: String,
    },
}

/// Reads the control file at `path`.
pub fn read(path: &Utf8Path) -> Result<ControlFile, ControlStoreError> {
    let bytes = fs::read(path).map_err(|source| ControlStoreError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    ControlFile::decode(&bytes)
        .map_err(|source| ControlStoreError::Format { path: path.into(), source })
}

/// Replaces one timeline's control file.
#[derive(Debug)]
pub struct FileControlStore {
    dir: Utf8PathBuf,
    files: Files,
    last_persisted: Instant,
    poisoned: Option<String>,
}

impl FileControlStore {
    /// The control file in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<Utf8PathBuf>, durability: Durability) -> Self {
        Self::on(files::local(durability), dir)
    }

    /// The control file in `dir` on this file system.
    pub fn on(files: Files, dir: impl Into<Utf8PathBuf>) -> Self {
        Self { dir: dir.into(), files, last_persisted: Instant::now(), poisoned: None }
    }

    /// The same timeline after its directory was renamed.
    pub fn moved_to(self, dir: impl Into<Utf8PathBuf>) -> Self {
        Self { dir: dir.into(), ..self }
    }

    /// When the file was last replaced, or this store was opened.
    pub fn last_persisted(&self) -> Instant {
        self.last_persisted
    }

    fn replace(&self, bytes: &[u8]) -> Result<(), ControlStoreError> {
        let target = self.dir.join(CONTROL_FILE_NAME);
        let failed = |action: &'static str| {
            let path = target.clone();
            move |source| ControlStoreError::Io { action, path, source }
        };
        let temporary = self.dir.join(CONTROL_FILE_TEMPORARY_NAME);
        let file = self.files.open(&temporary, Access::Create).map_err(failed("create"))?;
        file.write_all_at(bytes, 0).map_err(failed("write"))?;
        file.sync_all().map_err(failed(SYNC))?;
        self.files.rename(&temporary, &target).map_err(failed("rename"))?;
        file.sync_all().map_err(failed(SYNC))?;
        self.files.sync_dir(&self.dir).map_err(failed(SYNC))
    }
}

const SYNC: &str = "sync";

impl ControlStore for FileControlStore {
    fn persist(&mut self, state: &ControlFile) -> Result<(), StorageError> {
        if let Some(reason) = &self.poisoned {
            let (path, reason) = (self.dir.join(CONTROL_FILE_NAME), reason.clone());
            return Err(Box::new(ControlStoreError::Poisoned { path, reason }));
        }
        let _timer = metrics::PERSIST_CONTROL_FILE_SECONDS.start_timer();
        let result = self.replace(&state.encode());
        if let Err(error @ ControlStoreError::Io { action: SYNC, .. }) = &result {
            tracing::error!("control file is poisoned: {error}");
            self.poisoned = Some(error.to_string());
        }
        result?;
        self.last_persisted = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
