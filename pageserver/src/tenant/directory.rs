//! The local directories of tenants and timelines: scanning, leftovers, removal.
//!
//! Local files are a cache of what remote storage says. Nothing here decides what is valid beyond
//! names; blocking code, to be called on the blocking pool.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::paths::TEMP_SUFFIX;
use pageserver_api::shard::TenantShardId;
use rand::Rng;
use utils::TimelineId;
use utils::fs_ext;

use crate::config::location::LocationFileError;
use crate::config::{LocationConf, PageServerConf, location};

/// A directory could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct DirectoryError {
    /// What was attempted.
    pub action: &'static str,
    /// On what.
    pub path: Utf8PathBuf,
    /// Why.
    pub source: std::io::Error,
}

fn error<'a>(
    action: &'static str,
    path: &'a Utf8Path,
) -> impl Fn(std::io::Error) -> DirectoryError + 'a {
    move |source| DirectoryError { action, path: path.to_owned(), source }
}

/// Suffixes of marks that earlier versions left beside a timeline's directory.
const LEGACY_MARKS: [&str; 2] = [".___uninit", ".___delete"];

/// What the location file of a tenant says, or why it does not say anything.
pub type FoundLocation = Result<LocationConf, LocationFileError>;

/// The locations of the tenants found on disk. A location that cannot be read is returned as such:
/// the others must not suffer.
pub fn scan_tenants(
    conf: &PageServerConf,
) -> Result<BTreeMap<TenantShardId, FoundLocation>, DirectoryError> {
    let root = conf.tenants_path();
    std::fs::create_dir_all(&root).map_err(error("create", &root))?;
    let mut found = BTreeMap::new();
    for name in entries(&root)? {
        let path = root.join(&name);
        if name.ends_with(TEMP_SUFFIX) {
            tracing::info!("removing temporary directory {path}");
            remove_all(&path)?;
            continue;
        }
        let Ok(shard) = name.parse::<TenantShardId>() else {
            tracing::warn!("Invalid tenant path (garbage in our repo directory?): '{path}'");
            continue;
        };
        if fs_ext::is_dir_empty(path.as_std_path()).unwrap_or(false) {
            tracing::info!("removing empty tenant directory {path}");
            remove_all(&path)?;
            continue;
        }
        found.insert(shard, location::load(&conf.tenant_location_path(&shard)));
    }
    Ok(found)
}

/// Removes what must not survive an attach: temporary files, marks of earlier versions, and the
/// directories of timelines that are not in remote storage.
pub fn purge_leftovers(
    timelines_dir: &Utf8Path,
    keep: &BTreeSet<TimelineId>,
) -> Result<(), DirectoryError> {
    for name in entries(timelines_dir)? {
        let path = timelines_dir.join(&name);
        if name.ends_with(TEMP_SUFFIX) || LEGACY_MARKS.iter().any(|mark| name.ends_with(mark)) {
            tracing::info!("removing temporary {path}");
            remove_all(&path)?;
            continue;
        }
        match name.parse::<TimelineId>() {
            Ok(timeline) if keep.contains(&timeline) => {}
            Ok(timeline) => {
                tracing::info!("Purging stale timeline dentry {timeline}");
                remove_all(&path)?;
            }
            Err(_) => tracing::warn!("unexpected file in timelines directory: {path}"),
        }
    }
    Ok(())
}

/// Makes the directory of a tenant and that of its timelines, durably.
pub fn create_tenant_dir(
    conf: &PageServerConf,
    shard: &TenantShardId,
) -> Result<(), DirectoryError> {
    let timelines = conf.timelines_path(shard);
    std::fs::create_dir_all(&timelines).map_err(error("create", &timelines))?;
    sync_parent(&timelines)?;
    sync_parent(&conf.tenant_path(shard))
}

/// Renames a directory so that it does not exist under its name any more, durably. What remains is
/// to be removed at leisure. `None` if there is no such directory.
pub fn rename_away(path: &Utf8Path) -> Result<Option<Utf8PathBuf>, DirectoryError> {
    let random: String =
        rand::rng().sample_iter(rand::distr::Alphanumeric).take(8).map(char::from).collect();
    let temp = Utf8PathBuf::from(format!("{path}.{random}{TEMP_SUFFIX}"));
    match std::fs::rename(path, &temp) {
        Ok(()) => {
            sync_parent(path)?;
            Ok(Some(temp))
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error("rename", path)(source)),
    }
}

/// Removes a file or a directory with its content; being absent is fine.
pub fn remove_all(path: &Utf8Path) -> Result<(), DirectoryError> {
    let is_dir = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(error("look at", path)(source)),
    };
    let removed = if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(error("remove", path)(source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the directory of a timeline, durably.
pub fn remove_timeline_dir(path: &Utf8Path) -> Result<(), DirectoryError> {
    remove_all(path)?;
    sync_parent(path)
}

fn sync_parent(path: &Utf8Path) -> Result<(), DirectoryError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs_ext::fsync_dir(parent.as_std_path()).map_err(|e| error("sync", parent)(e.source))
}

fn entries(path: &Utf8Path) -> Result<Vec<String>, DirectoryError> {
    let failed = error("read", path);
    let directory = match path.read_dir_utf8() {
        Ok(directory) => directory,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    directory.map(|entry| Ok(entry.map_err(&failed)?.file_name().to_owned())).collect()
}

#[cfg(test)]
mod tests;
