//! Loading a timeline: what the index names against what the local directory holds.
//!
//! The index is the authority. Local files it does not name, or names with another size, are
//! removed; layers it names and the directory lacks are only in remote storage.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::paths::LocalFileKind;
use layer_format::{IndexPart, LayerFileMetadata, LayerName};
use utils::{Generation, Lsn};

use super::create::TimelineParams;
use super::{LoadTimelineError, StorageOperation, Timeline};
use crate::layers::Layer;

/// A layer file found in the directory.
struct LocalLayer {
    name: LayerName,
    generation: Generation,
    size_bytes: u64,
    path: Utf8PathBuf,
}

/// The outcome of comparing index and directory.
#[derive(Default)]
struct Reconciled {
    resident: Vec<(LayerName, LayerFileMetadata)>,
    evicted: Vec<(LayerName, LayerFileMetadata)>,
    /// Layers of the index that are newer than its consistent LSN.
    future: Vec<LayerName>,
}

impl Timeline {
    /// Loads a timeline as `index` defines it. `params.metadata` must be that of the index, and
    /// the upload queue must have been started from it.
    pub async fn load(
        params: TimelineParams,
        index: &IndexPart,
    ) -> Result<Arc<Timeline>, LoadTimelineError> {
        let started = Instant::now();
        let directory = params.conf.timeline_path(&params.tenant_shard_id, &params.timeline_id);
        let owned_index = index.clone();
        let reconciled = tokio::task::spawn_blocking(move || {
            let local = scan_directory(&directory)?;
            reconcile(&owned_index, local)
        });
        let reconciled = match reconciled.await {
            Ok(reconciled) => reconciled?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let Reconciled { resident, evicted, future } = reconciled;
        let timeline = Timeline::assemble(params, |owner| {
            let here = |(name, metadata)| Layer::resident(Arc::clone(owner), name, metadata);
            let away = |(name, metadata)| Layer::evicted(Arc::clone(owner), name, metadata);
            resident.into_iter().map(here).chain(evicted.into_iter().map(away)).collect()
        })?;
        drop(timeline.operations.begun_at(StorageOperation::LoadLayerMap, started));
        if !future.is_empty() {
            timeline.remote_client.schedule_unlink_and_delete(&future)?;
            // A layer of the same name must not be uploaded before its predecessor is gone.
            drop(timeline.remote_client.schedule_barrier()?);
        }
        Ok(timeline)
    }
}

/// Lists the layer files of a timeline's directory, which is made if absent, and removes what
/// an earlier process left half-done.
fn scan_directory(directory: &Utf8Path) -> Result<Vec<LocalLayer>, LoadTimelineError> {
    let failed = |action, path: &Utf8Path| {
        let path = path.to_owned();
        move |source| LoadTimelineError::Directory { action, path, source }
    };
    std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
    let mut layers = Vec::new();
    let mut unknown = Vec::new();
    for entry in directory.read_dir_utf8().map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let path = entry.path().to_owned();
        match LocalFileKind::of(entry.file_name()) {
            LocalFileKind::Layer(name, generation) => {
                let stat = entry.metadata().map_err(failed("inspect", &path))?;
                layers.push(LocalLayer { name, generation, size_bytes: stat.len(), path });
            }
            LocalFileKind::Ephemeral
            | LocalFileKind::Temporary
            | LocalFileKind::TemporaryDownload
            | LocalFileKind::LegacyBackup => {
                tracing::debug!("removing leftover {path}");
                std::fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
            LocalFileKind::Unknown => unknown.push(entry.file_name().to_owned()),
        }
    }
    if unknown.is_empty() {
        return Ok(layers);
    }
    let total = unknown.len();
    unknown.truncate(10);
    Err(LoadTimelineError::Unrecognized { total, first: unknown })
}

/// Decides what becomes of every layer, and removes local files that are not to be used.
fn reconcile(index: &IndexPart, local: Vec<LocalLayer>) -> Result<Reconciled, LoadTimelineError> {
    let disk_consistent_lsn = index.metadata.disk_consistent_lsn;
    let mut present = HashSet::new();
    for file in local {
        if keep_local(index, &file, disk_consistent_lsn) {
            present.insert(file.name);
            continue;
        }
        std::fs::remove_file(&file.path).map_err(|source| LoadTimelineError::Directory {
            action: "remove",
            path: file.path.clone(),
            source,
        })?;
    }
    let mut reconciled = Reconciled::default();
    for (name, metadata) in &index.layer_metadata {
        if name.is_in_future(disk_consistent_lsn) {
            reconciled.future.push(name.clone());
        } else if present.contains(name) {
            reconciled.resident.push((name.clone(), metadata.clone()));
        } else {
            reconciled.evicted.push((name.clone(), metadata.clone()));
        }
    }
    Ok(reconciled)
}

/// Whether a local file is the layer that the index names.
fn keep_local(index: &IndexPart, file: &LocalLayer, disk_consistent_lsn: Lsn) -> bool {
    let LocalLayer { name, generation, size_bytes, path } = file;
    let kind = name.kind();
    match index.layer_metadata.get(name) {
        _ if name.is_in_future(disk_consistent_lsn) => {
            tracing::info!(
                "found future {kind} layer {name} disk_consistent_lsn is {disk_consistent_lsn}"
            );
            false
        }
        None => {
            tracing::info!("found local-only {kind} layer {name} size {size_bytes}");
            false
        }
        Some(metadata) if metadata.file_size != *size_bytes => {
            let expected = metadata.file_size;
            tracing::warn!(
                "removing local file {path} because it has unexpected length {size_bytes}; length in remote index is {expected}"
            );
            false
        }
        Some(metadata) if metadata.generation != *generation => {
            // The path would not be found under the index's generation.
            tracing::info!("found {kind} layer {name} of generation {generation:?}, not needed");
            false
        }
        Some(_) => true,
    }
}
