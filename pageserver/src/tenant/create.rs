//! Creates timelines: by branching off another, or as a new root (see [`super::bootstrap`]).
//!
//! A caller repeats a creation after a time-out, so the same request must succeed again, and a
//! different one for the same id must not. Nothing is acknowledged before the index is in remote
//! storage: if this node were replaced, the timeline would be lost.

use std::sync::Arc;

use pageserver_api::models::TimelineCreateRequest;
use postgres_ffi::PgMajor;
use tracing::{info, warn};
use utils::{Lsn, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::remote::{QueueError, RemoteTimelineClient, WaitCompletionError};
use crate::tasks::TaskKind;
use crate::timeline::{self, Timeline, TimelineState};

use super::bootstrap::BootstrapError;
use super::{GetTimelineError, Tenant};

/// A timeline cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTimelineError {
    /// It exists, made from something else.
    #[error("timeline already exists with different parameters")]
    Conflict,
    /// Another request is creating it, or deleting it.
    #[error("creation of timeline with the given ID is in progress")]
    AlreadyCreating,
    /// The branch point is not available.
    #[error("{0}")]
    AncestorLsn(String),
    /// The ancestor does not serve.
    #[error("ancestor timeline is not active")]
    AncestorNotActive,
    /// There is no such ancestor.
    #[error("Cannot branch off the timeline that's not present in pageserver")]
    AncestorNotFound,
    /// The tenant does not serve.
    #[error("Cannot create timelines on inactive tenant")]
    TenantNotActive,
    /// The tenant is going down.
    #[error("tenant shutting down")]
    ShuttingDown,
    /// It exists but cannot be used.
    #[error(transparent)]
    Broken(GetTimelineError),
    /// The root could not be filled.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The timeline could not be made.
    #[error(transparent)]
    Timeline(#[from] timeline::CreateTimelineError),
}

impl From<QueueError> for CreateTimelineError {
    fn from(_: QueueError) -> Self {
        CreateTimelineError::ShuttingDown
    }
}

impl From<WaitCompletionError> for CreateTimelineError {
    fn from(_: WaitCompletionError) -> Self {
        CreateTimelineError::ShuttingDown
    }
}

/// Keeps an id reserved while its timeline is made.
pub(super) struct CreationGuard<'a> {
    tenant: &'a Tenant,
    timeline: TimelineId,
}

impl Drop for CreationGuard<'_> {
    fn drop(&mut self) {
        self.tenant.timelines().creating.remove(&self.timeline);
    }
}

impl CreationGuard<'_> {
    /// Makes the timeline visible.
    pub(super) fn publish(self, timeline: &Arc<Timeline>) {
        let mut timelines = self.tenant.timelines();
        timelines.loaded.insert(self.timeline, Arc::clone(timeline));
    }
}

/// Either the right to create a timeline, or the timeline, which exists already.
pub(super) enum Reservation<'a> {
    New(CreationGuard<'a>),
    Existing(Arc<Timeline>),
}

impl Tenant {
    /// Creates a timeline, or returns the one that an equal request created earlier.
    pub async fn create_timeline(
        self: &Arc<Self>,
        request: &TimelineCreateRequest,
        major: PgMajor,
    ) -> Result<Arc<Timeline>, CreateTimelineError> {
        if !self.state.is_active() {
            return Err(CreateTimelineError::TenantNotActive);
        }
        let _entered = self.gate.enter().map_err(|_| CreateTimelineError::ShuttingDown)?;
        let timeline = match self.reserve(request.new_timeline_id)? {
            Reservation::Existing(existing) => {
                self.check_equal(&existing, request, major)?;
                existing.remote_client.wait_completion().await?;
                if existing.current_state() == TimelineState::Loading {
                    return Err(CreateTimelineError::AlreadyCreating);
                }
                return Ok(existing);
            }
            Reservation::New(guard) => {
                utils::pausable_failpoint!("timeline-creation-after-uninit");
                match request.ancestor_timeline_id {
                    Some(ancestor) => self.branch(guard, request, ancestor).await?,
                    None => self.bootstrap(guard, request, major).await?,
                }
            }
        };
        self.activate_timeline(&timeline);
        info!(timeline_id = %timeline.timeline_id, "timeline created");
        Ok(timeline)
    }

    pub(super) fn reserve(
        &self,
        timeline: TimelineId,
    ) -> Result<Reservation<'_>, CreateTimelineError> {
        match self.get_timeline(timeline) {
            Ok(existing) => return Ok(Reservation::Existing(existing)),
            Err(GetTimelineError::NotFound { .. }) => {}
            Err(error @ (GetTimelineError::Broken { .. } | GetTimelineError::NotActive { .. })) => {
                return Err(CreateTimelineError::Broken(error));
            }
        }
        let mut timelines = self.timelines();
        let taken = timelines.loaded.contains_key(&timeline)
            || timelines.deleting.contains(&timeline)
            || !timelines.creating.insert(timeline);
        if taken {
            return Err(CreateTimelineError::AlreadyCreating);
        }
        Ok(Reservation::New(CreationGuard { tenant: self, timeline }))
    }

    fn check_equal(
        &self,
        existing: &Timeline,
        request: &TimelineCreateRequest,
        major: PgMajor,
    ) -> Result<(), CreateTimelineError> {
        let ancestor = existing.ancestor();
        let ancestor_id = ancestor.as_ref().map(|(ancestor, _)| ancestor.timeline_id);
        let ancestor_lsn = ancestor.map_or(Lsn::INVALID, |(_, lsn)| lsn);
        let equal = ancestor_id == request.ancestor_timeline_id
            && existing.pg_major == major
            && request.ancestor_start_lsn.is_none_or(|lsn| lsn == ancestor_lsn);
        if equal { Ok(()) } else { Err(CreateTimelineError::Conflict) }
    }

    async fn branch(
        self: &Arc<Self>,
        guard: CreationGuard<'_>,
        request: &TimelineCreateRequest,
        ancestor: TimelineId,
    ) -> Result<Arc<Timeline>, CreateTimelineError> {
        let ancestor = match self.get_active_timeline(ancestor) {
            Ok(ancestor) => ancestor,
            Err(GetTimelineError::NotFound { .. }) => {
                return Err(CreateTimelineError::AncestorNotFound);
            }
            Err(GetTimelineError::NotActive { .. } | GetTimelineError::Broken { .. }) => {
                return Err(CreateTimelineError::AncestorNotActive);
            }
        };
        let start = request.ancestor_start_lsn.map(Lsn::align);
        if let Some(start) = start {
            wait_for_branch_point(&ancestor, start).await?;
        }
        let id = request.new_timeline_id;
        let client = self.remote_client(id);
        let timeline = {
            // Held from the choice of the branch point until the branch is known to exist.
            let _gc_lock = self.gc_lock.lock().await;
            let start = check_branch_point(&ancestor, start)?;
            let metadata = ancestor.branch_metadata(start);
            client.init_for_new_timeline(&metadata);
            client.inherit_aux_file_policy(&ancestor.remote_client);
            let parent = Some(Arc::clone(&ancestor));
            let params = self.timeline_params(id, metadata.clone(), parent, client.clone());
            let timeline = Timeline::new_empty(params).await?;
            client.schedule_index_upload_for_full_metadata_update(&metadata)?;
            guard.publish(&timeline);
            timeline
        };
        self.finish_upload(&client, id).await?;
        Ok(timeline)
    }

    /// Waits until the index of a new timeline is stored.
    async fn finish_upload(
        &self,
        client: &RemoteTimelineClient,
        timeline: TimelineId,
    ) -> Result<(), CreateTimelineError> {
        let stored = client.wait_completion().await;
        if let Err(error) = &stored {
            warn!(timeline_id = %timeline, "timeline is not stored yet: {error}");
        }
        Ok(stored?)
    }
}

/// Waits until the ancestor has the branch point.
async fn wait_for_branch_point(
    ancestor: &Arc<Timeline>,
    start: Lsn,
) -> Result<(), CreateTimelineError> {
    let own_start = ancestor.ancestor().map_or(Lsn::INVALID, |(_, lsn)| lsn);
    if start < own_start {
        return Err(CreateTimelineError::AncestorLsn(format!(
            "invalid start lsn {start} for ancestor timeline {}: less than timeline ancestor lsn \
             {own_start}",
            ancestor.timeline_id
        )));
    }
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    ancestor
        .wait_lsn(start, &ctx)
        .await
        .map_err(|error| CreateTimelineError::AncestorLsn(error.to_string()))
}

/// Where the branch starts, if that is still available.
fn check_branch_point(ancestor: &Timeline, start: Option<Lsn>) -> Result<Lsn, CreateTimelineError> {
    let start = start.unwrap_or_else(|| ancestor.last_record_lsn());
    let cutoff = ancestor.latest_gc_cutoff_lsn();
    ancestor.check_lsn_is_in_scope(start).map_err(|error| {
        CreateTimelineError::AncestorLsn(format!(
            "invalid branch start lsn: less than latest GC cutoff {cutoff}: {error}"
        ))
    })?;
    Ok(start)
}
