//! Detaching a timeline from its ancestor, up to the tenant that knows of it.

use std::sync::Arc;

use utils::TimelineId;

use super::TenantManager;
use super::maintenance::ResetError;
use crate::tenant::{DetachAncestorError, Tenant};
use crate::timeline::DetachLimits;

/// A timeline could not be detached from its ancestor.
#[derive(Debug, thiserror::Error)]
pub enum DetachTimelineError {
    /// It was not detached.
    #[error(transparent)]
    Detach(#[from] DetachAncestorError),
    /// It was, but the tenant could not be attached anew: that has to be repeated.
    #[error("timeline detach completion: {0}")]
    Reset(#[from] ResetError),
}

impl TenantManager {
    /// Detaches a timeline from its ancestor, and attaches the tenant anew so that it shows.
    /// Returns the timelines that are branches of the detached one now.
    pub async fn detach_ancestor(
        self: &Arc<Self>,
        tenant: &Tenant,
        timeline: TimelineId,
        limits: DetachLimits,
    ) -> Result<Vec<TimelineId>, DetachTimelineError> {
        let detached = tenant.detach_ancestor(timeline, limits).await?;
        self.reset(tenant.tenant_shard_id, false).await?;
        Ok(detached.reparented)
    }
}
