//! Finds the shard and the timeline that a request is about.

use std::sync::Arc;

use pageserver_api::Key;
use pageserver_api::shard::ShardIndex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utils::{TenantId, TimelineId};

use crate::tenant::slots::{Slot, SlotError};
use crate::tenant::{
    ACTIVE_TENANT_TIMEOUT, GetTimelineError, Location, Tenant, WaitToBecomeActiveError,
};
use crate::timeline::Timeline;

use super::TenantManager;

/// Which shard of a tenant is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardSelector {
    /// Any that is here.
    First,
    /// The one with number zero.
    Zero,
    /// The one that owns a key.
    Page(Key),
    /// This one.
    Known(ShardIndex),
}

/// A timeline is not being served here.
#[derive(Debug, thiserror::Error)]
pub enum GetActiveTimelineError {
    /// No such shard is attached.
    #[error("NotFound: tenant {0}")]
    TenantNotFound(TenantId),
    /// The tenant cannot be looked up now.
    #[error(transparent)]
    Slot(SlotError),
    /// The tenant does not serve.
    #[error(transparent)]
    Tenant(#[from] WaitToBecomeActiveError),
    /// The timeline does not serve.
    #[error(transparent)]
    Timeline(#[from] GetTimelineError),
}

/// What a look at the map gives.
enum Resolved {
    Found(Arc<Tenant>),
    /// A shard of the tenant is being changed; look again when the token fires.
    Wait(CancellationToken),
    NotFound,
}

impl TenantManager {
    /// An active timeline. Waits for a tenant that is being attached or changed.
    pub async fn get_active_timeline(
        &self,
        tenant_id: TenantId,
        selector: ShardSelector,
        timeline: TimelineId,
    ) -> Result<Arc<Timeline>, GetActiveTimelineError> {
        let tenant = self.get_active_tenant(tenant_id, selector).await?;
        Ok(tenant.get_active_timeline(timeline)?)
    }

    /// An active tenant shard. Waits for one that is being attached or changed.
    pub async fn get_active_tenant(
        &self,
        tenant_id: TenantId,
        selector: ShardSelector,
    ) -> Result<Arc<Tenant>, GetActiveTimelineError> {
        let deadline = Instant::now() + ACTIVE_TENANT_TIMEOUT;
        loop {
            match self.resolve(tenant_id, selector)? {
                Resolved::Found(tenant) => {
                    let wait = deadline.saturating_duration_since(Instant::now());
                    tenant.wait_active(wait).await?;
                    return Ok(tenant);
                }
                Resolved::NotFound => {
                    return Err(GetActiveTimelineError::TenantNotFound(tenant_id));
                }
                Resolved::Wait(done) => {
                    if tokio::time::timeout_at(deadline, done.cancelled()).await.is_err() {
                        return Err(GetActiveTimelineError::Slot(SlotError::InProgress(done)));
                    }
                }
            }
        }
    }

    /// Walks the tenant's slots in the order of their ids. While a split is under way the parent's
    /// slot is in progress, so that the children are found.
    fn resolve(
        &self,
        tenant_id: TenantId,
        selector: ShardSelector,
    ) -> Result<Resolved, GetActiveTimelineError> {
        let slots = self.slots.list(Some(tenant_id)).map_err(GetActiveTimelineError::Slot)?;
        let mut busy = None;
        let mut wanted_number = None;
        for (id, slot) in slots {
            let tenant = match slot {
                Slot::Occupied(Location::Attached(tenant)) => tenant,
                Slot::Occupied(Location::Secondary(_)) => continue,
                Slot::InProgress(done) => {
                    busy = Some(done);
                    continue;
                }
            };
            let matches = match selector {
                ShardSelector::First => true,
                ShardSelector::Zero => id.is_shard_zero(),
                ShardSelector::Known(index) => id.to_index() == index,
                ShardSelector::Page(key) => {
                    let number = *wanted_number
                        .get_or_insert_with(|| tenant.shard_identity.shard_number_of(&key));
                    id.shard_number == number
                }
            };
            if matches {
                return Ok(Resolved::Found(tenant));
            }
        }
        match busy {
            Some(done) => Ok(Resolved::Wait(done)),
            None if self.slots.is_closed() => {
                Err(GetActiveTimelineError::Slot(SlotError::ShuttingDown))
            }
            None => Ok(Resolved::NotFound),
        }
    }
}
