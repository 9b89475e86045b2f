//! Reads the lists that the last process left. Blocking code.

use std::collections::HashMap;

use camino::Utf8Path;
use layer_format::deletion_list::DELETION_HEADER_NAME;
use layer_format::{DeletionHeader, DeletionList};
use pageserver_api::shard::TenantShardId;
use utils::Generation;

use super::{FileError, metrics};

/// Extension of files being written.
pub(super) const TEMP_EXTENSION: &str = "tmp";

/// What was found.
pub(super) struct Recovered {
    /// In the order in which they were written.
    pub lists: Vec<DeletionList>,
    /// The number of the next list.
    pub next_sequence: u64,
}

/// Reads the directory, making it if absent.
pub(super) fn read(
    directory: &Utf8Path,
    attached: &HashMap<TenantShardId, Generation>,
) -> Result<Recovered, FileError> {
    let failed = |action| {
        move |error: std::io::Error| FileError {
            action,
            path: directory.to_owned(),
            reason: error.to_string(),
        }
    };
    std::fs::create_dir_all(directory).map_err(failed("make"))?;
    let validated = read_header(directory);
    let mut sequences = Vec::new();
    for entry in directory.read_dir_utf8().map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        let name = entry.file_name();
        if let Some(sequence) = DeletionList::parse_file_name(name) {
            sequences.push(sequence);
        } else if entry.path().extension() == Some(TEMP_EXTENSION) {
            tracing::info!("removing the half-written {name}");
            std::fs::remove_file(entry.path()).map_err(failed("clean up"))?;
        } else if name != DELETION_HEADER_NAME {
            metrics::UNEXPECTED_ERRORS.inc();
            tracing::warn!("Unexpected file in deletion directory: {name}");
        }
    }
    sequences.sort_unstable();
    let highest = sequences.last().copied().unwrap_or(0);
    let lists = sequences
        .into_iter()
        .filter_map(|sequence| read_list(directory, sequence))
        .map(|mut list| {
            list.validated = list.sequence <= validated;
            if !list.validated {
                adopt(&mut list, attached);
            }
            list
        })
        .collect();
    Ok(Recovered { lists, next_sequence: validated.max(highest) + 1 })
}

/// The number up to which lists were validated. Without a readable header that is none of them:
/// they are validated again.
fn read_header(directory: &Utf8Path) -> u64 {
    let path = directory.join(DELETION_HEADER_NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return 0,
        Err(error) => {
            tracing::warn!("cannot read {path}, all deletions are validated again: {error}");
            return 0;
        }
    };
    match DeletionHeader::from_json(&bytes) {
        Ok(header) => header.validated_sequence,
        Err(error) => {
            tracing::warn!("{path} is unusable, all deletions are validated again: {error}");
            0
        }
    }
}

fn read_list(directory: &Utf8Path, sequence: u64) -> Option<DeletionList> {
    let path = directory.join(DeletionList::file_name(sequence));
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    let list =
        read.and_then(|bytes| DeletionList::from_json(&bytes).map_err(|error| error.to_string()));
    match list {
        Ok(list) if list.sequence == sequence => Some(list),
        Ok(list) => {
            tracing::warn!("skipping {path}: it says that its number is {}", list.sequence);
            None
        }
        Err(error) => {
            tracing::warn!("skipping the deletion list {path}, its objects are leaked: {error}");
            None
        }
    }
}

/// Takes over the deletions of our own last attachment: if the generation before ours was ours, there
/// was nobody in between who could refer to these objects.
fn adopt(list: &mut DeletionList, attached: &HashMap<TenantShardId, Generation>) {
    let sequence = list.sequence;
    for (shard, deletions) in &mut list.tenants {
        match attached.get(shard) {
            Some(now) if *now == deletions.generation => {}
            Some(now) if now.previous() == deletions.generation => {
                tracing::info!(
                    "Updating gen on recovered list {sequence:016x} for {shard}: {:?} to {now:?}",
                    deletions.generation
                );
                deletions.generation = *now;
            }
            now => tracing::info!(
                "Encountered stale generation on recovered list {sequence:016x} for {shard}: \
                 {:?}, attached in {now:?}",
                deletions.generation
            ),
        }
    }
}
