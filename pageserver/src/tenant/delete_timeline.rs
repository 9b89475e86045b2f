//! Deletes timelines.
//!
//! The answer is given once the deletion is durable; the removal goes on in the background and
//! resumes after a restart.

use std::sync::Arc;

use tracing::{Instrument, error, info};
use utils::TimelineId;

use crate::remote::{self, RemoteTimelineClient};
use crate::tasks::{ExitOnError, TaskKind};
use crate::timeline::Timeline;

use super::directory::{self, DirectoryError};
use super::{ShutdownMode, Tenant};

/// A timeline cannot be deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTimelineError {
    /// There is no such timeline.
    #[error("timeline not found")]
    NotFound,
    /// Others read from it.
    #[error("Cannot delete timeline which has child timelines: {0:?}")]
    HasChildren(Vec<TimelineId>),
    /// It is being deleted, or created.
    #[error("Timeline deletion is already in progress")]
    InProgress,
    /// It could not be loaded, so it is not known what must be deleted.
    #[error("timeline cannot be deleted because it cannot be loaded: {0}")]
    Unloadable(String),
    /// Remote storage failed.
    #[error(transparent)]
    Remote(#[from] remote::DeleteTimelineError),
    /// The local directory could not be removed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A test asked for it.
    #[error("failpoint: {0}")]
    Failpoint(&'static str),
}

/// Marks a deletion as being in progress until it is handed to the background.
struct DeletionGuard<'a> {
    tenant: &'a Tenant,
    timeline: TimelineId,
    handed_over: bool,
}

impl Drop for DeletionGuard<'_> {
    fn drop(&mut self) {
        if !self.handed_over {
            self.tenant.timelines().deleting.remove(&self.timeline);
        }
    }
}

impl Tenant {
    /// Starts the deletion of a timeline. It is over when the timeline is not found any more.
    pub async fn delete_timeline(
        self: &Arc<Self>,
        timeline: TimelineId,
    ) -> Result<(), DeleteTimelineError> {
        let (mut guard, doomed) = self.start_deletion(timeline)?;
        self.shutdown_timeline(&doomed, ShutdownMode::Hard).await;
        utils::pausable_failpoint!(
            "timeline-delete-before-index-deleted-at",
            Err(DeleteTimelineError::Failpoint("timeline-delete-before-index-deleted-at"))
        );
        let client = doomed.remote_client.clone();
        client.wait_stopped().await;
        client.mark_deleted(&self.cancel).await?;
        utils::pausable_failpoint!(
            "timeline-delete-before-schedule",
            Err(DeleteTimelineError::Failpoint("timeline-delete-before-schedule"))
        );
        guard.handed_over = true;
        self.spawn_deletion(timeline, client, Some(doomed));
        Ok(())
    }

    fn start_deletion(
        &self,
        timeline: TimelineId,
    ) -> Result<(DeletionGuard<'_>, Arc<Timeline>), DeleteTimelineError> {
        let mut timelines = self.timelines();
        if let Some(reason) = timelines.unloadable.get(&timeline) {
            return Err(DeleteTimelineError::Unloadable(reason.clone()));
        }
        if timelines.creating.contains(&timeline) {
            return Err(DeleteTimelineError::InProgress);
        }
        let Some(doomed) = timelines.loaded.get(&timeline).cloned() else {
            // A deletion that was resumed at attach has no timeline to show.
            return Err(match timelines.deleting.contains(&timeline) {
                true => DeleteTimelineError::InProgress,
                false => DeleteTimelineError::NotFound,
            });
        };
        let is_child = |other: &&Arc<Timeline>| {
            other.ancestor().is_some_and(|(ancestor, _)| ancestor.timeline_id == timeline)
        };
        let children: Vec<TimelineId> =
            timelines.loaded.values().filter(is_child).map(|child| child.timeline_id).collect();
        if !children.is_empty() {
            return Err(DeleteTimelineError::HasChildren(children));
        }
        if !timelines.deleting.insert(timeline) {
            return Err(DeleteTimelineError::InProgress);
        }
        Ok((DeletionGuard { tenant: self, timeline, handed_over: false }, doomed))
    }

    /// Removes everything of a timeline whose index says that it is deleted.
    pub(super) fn spawn_deletion(
        self: &Arc<Self>,
        timeline: TimelineId,
        client: RemoteTimelineClient,
        doomed: Option<Arc<Timeline>>,
    ) {
        let tenant = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "delete_timeline",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
            timeline_id = %timeline,
        );
        let runtime = self.resources.remote.runtime.clone();
        let task = async move {
            let outcome = tenant.remove_timeline(timeline, &client).await;
            let mut timelines = tenant.timelines();
            timelines.deleting.remove(&timeline);
            match outcome {
                Ok(()) => {
                    timelines.loaded.remove(&timeline);
                    info!("timeline deleted");
                }
                Err(failure) => {
                    if !tenant.cancel.is_cancelled() {
                        error!("Error: {failure}");
                    }
                    if let Some(doomed) = doomed {
                        doomed.set_broken(failure.to_string());
                    }
                }
            }
            Ok::<(), std::convert::Infallible>(())
        };
        let kind = TaskKind::TimelineDeletionWorker;
        self.tasks.spawn_on(&runtime, kind, ExitOnError::No, task.instrument(span));
    }

    async fn remove_timeline(
        &self,
        timeline: TimelineId,
        client: &RemoteTimelineClient,
    ) -> Result<(), DeleteTimelineError> {
        // Garbage collection of the tenant must not look at what is being removed.
        let _gc_lock = self.gc_lock.lock().await;
        utils::pausable_failpoint!(
            "timeline-delete-before-rm",
            Err(DeleteTimelineError::Failpoint("timeline-delete-before-rm"))
        );
        let directory = self.conf.timeline_path(&self.tenant_shard_id, &timeline);
        directory::remove_timeline_dir(&directory)?;
        utils::pausable_failpoint!(
            "timeline-delete-after-rm",
            Err(DeleteTimelineError::Failpoint("timeline-delete-after-rm"))
        );
        client.delete_all(&self.cancel).await?;
        utils::pausable_failpoint!("in_progress_delete");
        Ok(())
    }
}
