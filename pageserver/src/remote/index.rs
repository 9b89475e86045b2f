//! Finds and reads the index of a timeline.
//!
//! An index of a higher generation than ours belongs to a newer attachment, whose layers we may
//! know nothing about; it is never chosen.

use std::collections::BTreeSet;

use layer_format::IndexPart;
use layer_format::paths::{remote_index_path, remote_timeline_prefix, remote_timelines_prefix};
use pageserver_api::shard::TenantShardId;
use remote_storage::{GenericRemoteStorage, ListMode, Listing, RemotePath};
use tokio_util::sync::CancellationToken;
use utils::backoff;
use utils::{Generation, TimelineId};

use super::{DownloadError, remote_path};

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// The timelines of a tenant shard in remote storage. Retries until it succeeds or is cancelled.
pub async fn list_timelines(
    storage: &GenericRemoteStorage,
    shard: &TenantShardId,
    cancel: &CancellationToken,
) -> Result<BTreeSet<TimelineId>, DownloadError> {
    let prefix = remote_path(remote_timelines_prefix(shard))?;
    let what = format!("list identifiers in prefix {prefix}");
    let listing = retried(&what, cancel, || async {
        fail::fail_point!("storage-sync-list-remote-timelines", |_| {
            Err(DownloadError::Corrupt {
                path: prefix.to_string(),
                reason: "storage-sync-list-remote-timelines".to_owned(),
            })
        });
        Ok(storage.list(Some(&prefix), ListMode::WithDelimiter, None, cancel).await?)
    })
    .await?;
    let Listing { prefixes, keys } = listing;
    for key in keys {
        tracing::warn!("Unexpected non timeline key {key}");
    }
    let mut timelines = BTreeSet::new();
    for path in prefixes {
        match path.object_name().parse() {
            Ok(timeline) => {
                timelines.insert(timeline);
            }
            Err(_) => tracing::warn!("Unexpected non timeline prefix {path}"),
        }
    }
    Ok(timelines)
}

/// The newest index at or below our generation, and the generation it was written in. Retries until
/// it succeeds, fails permanently or is cancelled. A corrupt index is an error, not a reason to
/// take an older one.
pub async fn download_index(
    storage: &GenericRemoteStorage,
    shard: &TenantShardId,
    timeline: &TimelineId,
    generation: Generation,
    cancel: &CancellationToken,
) -> Result<(IndexPart, Generation), DownloadError> {
    let finder = Finder { storage, shard, timeline, cancel };
    // The common cases: a restart in the same generation, and a hand-over from the one before.
    for candidate in BTreeSet::from([generation, generation.previous()]).into_iter().rev() {
        match finder.read(candidate).await {
            Err(DownloadError::NotFound(_)) => {}
            Err(error) => return Err(error),
            Ok(index) => return Ok((index, candidate)),
        }
    }
    let newest = finder.newest(generation).await?;
    Ok((finder.read(newest).await?, newest))
}

struct Finder<'a> {
    storage: &'a GenericRemoteStorage,
    shard: &'a TenantShardId,
    timeline: &'a TimelineId,
    cancel: &'a CancellationToken,
}

impl Finder<'_> {
    async fn read(&self, generation: Generation) -> Result<IndexPart, DownloadError> {
        let path = remote_path(remote_index_path(self.shard, self.timeline, generation))?;
        let bytes = retried(&format!("download {path}"), self.cancel, || async {
            Ok(self.storage.download_bytes(&path, self.cancel).await?)
        })
        .await?;
        IndexPart::from_json(&bytes).map_err(|error| DownloadError::Corrupt {
            path: path.to_string(),
            reason: error.to_string(),
        })
    }

    /// The highest generation at or below `limit` of which there is an index; none if there is
    /// only one without.
    async fn newest(&self, limit: Generation) -> Result<Generation, DownloadError> {
        let prefix = remote_timeline_prefix(self.shard, self.timeline);
        let prefix = remote_path(format!("{prefix}{}", layer_format::index_part::INDEX_FILE_NAME))?;
        let listing = retried(&format!("list {prefix}"), self.cancel, || async {
            Ok(self.storage.list(Some(&prefix), ListMode::NoDelimiter, None, self.cancel).await?)
        })
        .await?;
        Ok(newest_of(&listing.keys, limit).unwrap_or(Generation::None))
    }
}

/// The highest generation at or below `limit` among index objects.
fn newest_of(keys: &[RemotePath], limit: Generation) -> Option<Generation> {
    keys.iter()
        .filter_map(|key| IndexPart::parse_object_name(key.object_name()))
        .filter(|generation| *generation <= limit)
        .max()
}

async fn retried<T, F>(
    what: &str,
    cancel: &CancellationToken,
    operation: impl FnMut() -> F,
) -> Result<T, DownloadError>
where
    F: Future<Output = Result<T, DownloadError>>,
{
    let permanent = DownloadError::is_permanent;
    backoff::retry(operation, permanent, WARN_THRESHOLD, u32::MAX, what, cancel)
        .await
        .unwrap_or(Err(DownloadError::Cancelled))
}

#[cfg(test)]
mod tests;
