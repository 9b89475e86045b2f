//! How full the disk is. Blocking.

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::config::{DiskUsageEvictionConfig, MockStatvfs};

/// The disk could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DiskUsageError {
    /// The system call failed.
    #[error("statvfs failed, presumably directory got unlinked: {0}")]
    Statvfs(#[from] Errno),
    /// A mocked disk is smaller than its files: the test is wrong.
    #[error("the mocked disk has {total_blocks} blocks, but its files use {used_blocks}")]
    MockTooSmall {
        /// Blocks of the disk.
        total_blocks: u64,
        /// Blocks in use.
        used_blocks: u64,
    },
    /// The files of a mocked disk could not be counted.
    #[error("cannot count the files below {path} for a mocked disk: {reason}")]
    Mock {
        /// The directory.
        path: Utf8PathBuf,
        /// Why.
        reason: String,
    },
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// Size of the disk in bytes.
    pub total_bytes: u64,
    /// What an ordinary user can still write, in bytes.
    pub avail_bytes: u64,
    max_usage_pct: u64,
    min_avail_bytes: u64,
}

impl DiskUsage {
    /// Looks at the disk of `directory`.
    pub fn measure(
        directory: &Utf8Path,
        config: &DiskUsageEvictionConfig,
    ) -> Result<DiskUsage, DiskUsageError> {
        let (total_bytes, avail_bytes) = match &config.mock_statvfs {
            None => real(directory)?,
            Some(mock) => {
                tracing::info!("running mocked statvfs");
                mocked(directory, mock)?
            }
        };
        Ok(DiskUsage {
            total_bytes,
            avail_bytes,
            max_usage_pct: u64::from(config.max_usage_pct),
            min_avail_bytes: config.min_avail_bytes,
        })
    }

    /// Used percentage, rounded down.
    pub fn usage_pct(&self) -> u64 {
        let used = u128::from(self.total_bytes.saturating_sub(self.avail_bytes));
        u64::try_from(used * 100 / u128::from(self.total_bytes.max(1))).unwrap_or(100)
    }

    /// Whether something has to go.
    pub fn has_pressure(&self) -> bool {
        self.usage_pct() >= self.max_usage_pct || self.avail_bytes < self.min_avail_bytes
    }

    /// The same disk with so many bytes freed.
    #[must_use]
    pub fn with_freed(self, bytes: u64) -> DiskUsage {
        DiskUsage { avail_bytes: self.avail_bytes.saturating_add(bytes), ..self }
    }
}

fn real(directory: &Utf8Path) -> Result<(u64, u64), DiskUsageError> {
    let disk = statvfs(directory.as_std_path())?;
    let unit_bytes = match disk.fragment_size() {
        0 => disk.block_size(),
        size => size,
    };
    Ok((disk.blocks() * unit_bytes, disk.blocks_available() * unit_bytes))
}

fn mocked(directory: &Utf8Path, mock: &MockStatvfs) -> Result<(u64, u64), DiskUsageError> {
    let (blocksize, total_blocks, name_filter) = match mock {
        MockStatvfs::Success { blocksize, total_blocks, name_filter } => {
            (*blocksize, *total_blocks, name_filter)
        }
        MockStatvfs::Failure { mocked_error } => return Err(Errno::from(*mocked_error).into()),
    };
    let failed = |reason: String| DiskUsageError::Mock { path: directory.to_owned(), reason };
    let filter = name_filter.as_deref().map(regex_lite::Regex::new).transpose();
    let filter = filter.map_err(|error| failed(error.to_string()))?;
    let mut used_bytes = 0;
    for entry in walkdir::WalkDir::new(directory) {
        // Files come and go while we walk.
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().to_string_lossy();
        if !entry.file_type().is_file() || filter.as_ref().is_some_and(|f| !f.is_match(&name)) {
            continue;
        }
        used_bytes += entry.metadata().map_or(0, |metadata| metadata.len());
    }
    let used_blocks = used_bytes.div_ceil(blocksize.max(1));
    match total_blocks.checked_sub(used_blocks) {
        Some(free) => Ok((total_blocks * blocksize, free * blocksize)),
        None => Err(DiskUsageError::MockTooSmall { total_blocks, used_blocks }),
    }
}

#[cfg(test)]
mod tests;
