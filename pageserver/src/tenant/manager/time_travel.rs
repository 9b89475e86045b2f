//! Brings the objects of a tenant back to an earlier time, in stores that keep versions.

use std::time::SystemTime;

use layer_format::paths::remote_timelines_prefix;
use pageserver_api::shard::TenantShardId;
use remote_storage::{RemotePath, RemotePathError, RemoteStorageError};
use utils::backoff;

use crate::tenant::slots::{AcquireMode, SlotError};

use super::TenantManager;

/// Failures before the log says WARN, and before the caller is told.
const WARN_THRESHOLD: u32 = 3;
const MAX_RETRIES: u32 = 10;

/// A tenant cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum TimeTravelError {
    /// Its slot cannot be had.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// It is in use here.
    #[error("Tenant {0} is already attached at this pageserver")]
    Attached(TenantShardId),
    /// A path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The store cannot do it, or failed.
    #[error(transparent)]
    Storage(#[from] RemoteStorageError),
}

impl TenantManager {
    /// Brings a shard's timelines back to their state at `travel_to`. What changed at or after
    /// `done_if_after` counts as recovered, so that the call can be repeated. Nobody can attach the
    /// tenant here meanwhile.
    pub async fn time_travel(
        &self,
        shard: TenantShardId,
        travel_to: SystemTime,
        done_if_after: SystemTime,
    ) -> Result<(), TimeTravelError> {
        let guard = self.slots.acquire(shard, AcquireMode::Any)?;
        if guard.old().is_some() {
            return Err(TimeTravelError::Attached(shard));
        }
        let mut prefixes = vec![RemotePath::new(remote_timelines_prefix(&shard))?];
        if shard.is_shard_zero() && !shard.is_unsharded() {
            // The initial databases are there.
            let unsharded = TenantShardId::unsharded(shard.tenant_id);
            prefixes.push(RemotePath::new(remote_timelines_prefix(&unsharded))?);
        }
        let storage = &self.resources.remote.storage;
        for prefix in &prefixes {
            let recover = || {
                storage.time_travel_recover(Some(prefix), travel_to, done_if_after, &self.cancel)
            };
            let what = format!("time travel recovery of {prefix}");
            let permanent = RemoteStorageError::is_permanent;
            backoff::retry(recover, permanent, WARN_THRESHOLD, MAX_RETRIES, &what, &self.cancel)
                .await
                .unwrap_or(Err(RemoteStorageError::Cancelled))?;
        }
        guard.remove();
        Ok(())
    }
}
