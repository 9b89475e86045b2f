//! Recovery of earlier versions in a bucket that keeps them.
//!
//! Nothing is removed: an object gets its old content as a new version, one that did not exist
//! gets a delete marker. So recovery can be repeated, and undone by another recovery.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sdk_s3::primitives::DateTime;
use tokio_util::sync::CancellationToken;

use super::{S3Bucket, errors};
use crate::{RemotePath, RemoteStorageError};

/// Versions and deletions that are considered at most; they are all held in memory.
const MAX_CHANGES: usize = 100_000;

/// One entry of an object's history.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    time: SystemTime,
    /// Whether this is the state of today, which ties of `time` do not tell.
    is_latest: bool,
    /// The version, unless this is a deletion.
    version: Option<String>,
}

/// What brings an object back to its former state.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Restore(String),
    Delete,
}

impl S3Bucket {
    pub(super) async fn recover(
        &self,
        prefix: Option<&RemotePath>,
        timestamp: SystemTime,
        done_if_after: SystemTime,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteStorageError> {
        let shown = prefix.map_or("", RemotePath::as_str);
        let histories = self.histories(shown, cancel).await?;
        tracing::info!("time travel below {shown}: {} objects have a history", histories.len());
        for (key, changes) in histories {
            let path = self.prefix.path(&key)?;
            match step(changes, timestamp, done_if_after) {
                Step::Nothing => tracing::debug!("time travel leaves {path}"),
                Step::Restore(version) => {
                    tracing::debug!("time travel restores {path} from version {version}");
                    let copy = self.copy_source(&key, Some(&version), &key, &path);
                    self.bounded(cancel, copy).await?;
                }
                Step::Delete => {
                    tracing::debug!("time travel deletes {path}");
                    self.bounded(cancel, self.delete_keys(vec![key])).await?;
                }
            }
        }
        Ok(())
    }

    /// Every change of every object below the prefix.
    async fn histories(
        &self,
        prefix: &str,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, Vec<Change>>, RemoteStorageError> {
        let failed = |reason: &str| errors::failed("list the versions below", prefix, reason);
        let mut histories: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        let (mut key_marker, mut version_marker, mut found) = (None, None, 0);
        loop {
            let request = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(self.prefix.full(prefix))
                .set_max_keys(self.page_keys)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker);
            let send = async {
                let sent = request.send().await;
                sent.map_err(|error| errors::map("list the versions below", prefix, error))
            };
            let page = self.bounded(cancel, send).await?;
            let versions = page.versions().iter().map(|version| {
                (version.key(), version.last_modified(), version.is_latest(), version.version_id())
            });
            let deletions = page
                .delete_markers()
                .iter()
                .map(|marker| (marker.key(), marker.last_modified(), marker.is_latest(), None));
            for (key, time, is_latest, version) in versions.chain(deletions) {
                if version == Some("null") {
                    return Err(RemoteStorageError::BadInput(format!(
                        "{} keeps no versions, so it cannot be brought back to a time",
                        self.bucket
                    )));
                }
                let (Some(key), Some(time)) = (key, time.and_then(to_system_time)) else {
                    return Err(failed("an entry has no key or no time"));
                };
                let change = Change {
                    time,
                    is_latest: is_latest.unwrap_or(false),
                    version: version.map(str::to_owned),
                };
                histories.entry(key.to_owned()).or_default().push(change);
                found += 1;
            }
            if found >= MAX_CHANGES {
                return Err(failed("Limit for number of versions/deletions exceeded (100000)"));
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
            if !page.is_truncated.unwrap_or(false) {
                return Ok(histories);
            }
            if key_marker.is_none() {
                return Err(failed("the page is not the last but does not say how to go on"));
            }
        }
    }

    /// Bounds one request of the many that a recovery makes.
    async fn bounded<T>(
        &self,
        cancel: &CancellationToken,
        request: impl Future<Output = Result<T, RemoteStorageError>>,
    ) -> Result<T, RemoteStorageError> {
        // Both branches may be dropped: an abandoned request changes one object or none.
        tokio::select! {
            result = tokio::time::timeout(self.timeout, request) => {
                result.unwrap_or(Err(RemoteStorageError::Timeout(self.timeout)))
            }
            () = cancel.cancelled() => Err(RemoteStorageError::Cancelled),
        }
    }
}

fn to_system_time(time: &DateTime) -> Option<SystemTime> {
    SystemTime::try_from(*time).ok()
}

/// Decides for one object. `done_if_after` is when recovery began: what changed since then was
/// recovered by an earlier attempt.
fn step(mut changes: Vec<Change>, timestamp: SystemTime, done_if_after: SystemTime) -> Step {
    changes.sort_by_key(|change| (change.time, change.is_latest));
    let Some(latest) = changes.last() else { return Step::Nothing };
    if latest.time >= done_if_after {
        return Step::Nothing;
    }
    let then = changes.iter().rev().find(|change| change.time <= timestamp);
    match then {
        Some(then) if then == latest => Step::Nothing,
        Some(Change { version: Some(version), .. }) => Step::Restore(version.clone()),
        Some(Change { version: None, .. }) | None => match latest.version {
            Some(_) => Step::Delete,
            None => Step::Nothing,
        },
    }
}

#[cfg(test)]
mod tests;
