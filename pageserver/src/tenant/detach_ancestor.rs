//! Detaches a timeline from its ancestor, and hands the ancestor's older branches over to it.
//!
//! The first index that names the copies also forgets the ancestor, so that a crash leaves either
//! a branch or a root. The older branches follow one by one; one that cannot be told keeps the old
//! ancestor, which has the same history. What is in memory does not change: the tenant has to be
//! attached anew.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};
use utils::{Lsn, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::tasks::TaskKind;
use crate::timeline::{DetachError, DetachLimits, Timeline};

use super::{GetTimelineError, Tenant};

/// A timeline cannot be detached from its ancestor.
#[derive(Debug, thiserror::Error)]
pub enum DetachAncestorError {
    /// There is no such timeline that serves.
    #[error(transparent)]
    Timeline(#[from] GetTimelineError),
    /// Another timeline of the tenant is being detached.
    #[error("other timeline detach is already ongoing")]
    Ongoing,
    /// It cannot be detached, or that failed.
    #[error(transparent)]
    Detach(#[from] DetachError),
}

/// What was detached in remote storage, but not in memory.
#[derive(Debug)]
pub struct Detached {
    /// Timelines that have the detached one as their ancestor now.
    pub reparented: Vec<TimelineId>,
    /// Lets no other detachment begin before the tenant is attached anew.
    _alone: OwnedMutexGuard<()>,
}

impl Tenant {
    /// Detaches a timeline from its ancestor in remote storage.
    pub async fn detach_ancestor(
        &self,
        timeline: TimelineId,
        limits: DetachLimits,
    ) -> Result<Detached, DetachAncestorError> {
        let timeline = self.get_active_timeline(timeline)?;
        let (ancestor, branch_point) = timeline.detachable_from()?;
        let alone = Arc::clone(&self.detaching).try_lock_owned();
        let alone = alone.map_err(|_| DetachAncestorError::Ongoing)?;
        let _entered = timeline.gate.enter().map_err(|_| DetachError::ShuttingDown)?;
        let _ancestor = ancestor.gate.enter().map_err(|_| DetachError::ShuttingDown)?;
        utils::pausable_failpoint!("timeline-detach-before-copy");
        let ctx = RequestContext::new(TaskKind::DetachAncestor, DownloadBehavior::Download);
        let inherited = timeline.copy_inherited_layers(limits, &ctx).await?;
        utils::pausable_failpoint!(
            "timeline-detach-before-index",
            Err(DetachError::Failpoint("timeline-detach-before-index").into())
        );
        timeline.adopt(inherited).await?;
        info!("detached from {} at {branch_point}", ancestor.timeline_id);
        utils::pausable_failpoint!("timeline-detach-before-reparent");
        let reparented = self.reparent(&ancestor, &timeline, branch_point).await;
        utils::pausable_failpoint!("timeline-detach-before-reset");
        Ok(Detached { reparented, _alone: alone })
    }

    /// Gives branches of `old` at or below `branch_point` the ancestor `new`.
    async fn reparent(
        &self,
        old: &Arc<Timeline>,
        new: &Arc<Timeline>,
        branch_point: Lsn,
    ) -> Vec<TimelineId> {
        let deleting = self.timelines().deleting.clone();
        let mut reparented = Vec::new();
        for sibling in self.list_timelines() {
            let Some((ancestor, lsn)) = sibling.ancestor() else { continue };
            let follows = Arc::ptr_eq(&ancestor, old)
                && !Arc::ptr_eq(&sibling, new)
                && lsn <= branch_point
                && sibling.is_active()
                && !deleting.contains(&sibling.timeline_id);
            if !follows {
                continue;
            }
            match sibling.remote_client.reparent(new.timeline_id).await {
                Ok(()) => reparented.push(sibling.timeline_id),
                Err(failure) => warn!("reparenting failed of {}: {failure}", sibling.timeline_id),
            }
        }
        reparented
    }
}
