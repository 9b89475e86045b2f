//! Operations that operators ask for: attaching anew, and looking for tenants in remote storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use layer_format::IndexPart;
use layer_format::paths::remote_timelines_prefix;
use pageserver_api::shard::TenantShardId;
use remote_storage::{ListMode, RemotePath, RemotePathError, RemoteStorageError};
use utils::{Generation, TenantId};

use super::TenantManager;
use crate::config::location::{self, LocationFileError};
use crate::tenant::directory::{self, DirectoryError};
use crate::tenant::slots::{AcquireMode, SlotError};
use crate::tenant::{ShutdownMode, SpawnMode};

/// A tenant cannot be attached anew.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Its slot cannot be had.
    #[error("Tenant not found when trying to reset: {0}")]
    Slot(#[from] SlotError),
    /// It is not attached.
    #[error("Tenant is not in attached state")]
    NotAttached,
    /// It is being shut down.
    #[error("Cannot reset Tenant, already shutting down")]
    Stopping,
    /// Its location cannot be read.
    #[error("cannot attach the tenant anew: {0}")]
    Location(#[from] LocationFileError),
    /// Its directory cannot be changed.
    #[error("cannot drop the local files of the tenant: {0}")]
    Directory(#[from] DirectoryError),
    /// The task that does blocking work ended early.
    #[error("Shutting down")]
    Interrupted,
}

/// Remote storage cannot be searched.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The store failed.
    #[error("cannot search remote storage: {0}")]
    Storage(#[from] RemoteStorageError),
}

impl TenantManager {
    /// Shuts a tenant down and attaches it again in the same generation. With `drop_cache`, its
    /// local layers are removed in between.
    pub async fn reset(
        self: &Arc<Self>,
        shard: TenantShardId,
        drop_cache: bool,
    ) -> Result<(), ResetError> {
        let guard = self.slots.acquire(shard, AcquireMode::MustExist)?;
        let tenant = match guard.old().map(|old| old.attached().cloned()) {
            Some(Some(tenant)) => tenant,
            Some(None) | None => {
                guard.revert();
                return Err(ResetError::NotAttached);
            }
        };
        if tenant.state.is_stopping() {
            guard.revert();
            return Err(ResetError::Stopping);
        }
        tenant.shutdown(ShutdownMode::Hard).await;
        let conf = self.conf;
        let read = move || {
            let location = location::load(&conf.tenant_location_path(&shard))?;
            if drop_cache {
                directory::remove_all(&conf.timelines_path(&shard))?;
                directory::create_tenant_dir(conf, &shard)?;
            }
            Ok::<_, ResetError>(location)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| ResetError::Interrupted)?;
        let new = self.spawn(shard, &read?, SpawnMode::Eager, None);
        if let Err(failure) = guard.upsert(new.clone()) {
            new.shutdown(ShutdownMode::Hard).await;
            return Err(failure.into());
        }
        Ok(())
    }

    /// The shards of a tenant that are in remote storage, and the newest generation of each.
    pub async fn scan_remote_storage(
        &self,
        tenant: TenantId,
    ) -> Result<BTreeMap<TenantShardId, Generation>, ScanError> {
        let storage = &self.resources.remote.storage;
        // Without a final slash: shards follow the tenant's id.
        let prefix = RemotePath::new(format!("tenants/{tenant}"))?;
        let listing =
            storage.list(Some(&prefix), ListMode::WithDelimiter, None, &self.cancel).await?;
        let mut found = BTreeMap::new();
        for prefix in &listing.prefixes {
            let Ok(shard) = prefix.object_name().parse::<TenantShardId>() else {
                tracing::info!("not a shard of a tenant: {prefix}");
                continue;
            };
            if shard.tenant_id == tenant {
                found.insert(shard, self.newest_generation(&shard).await?);
            }
        }
        Ok(found)
    }

    /// The newest generation in which an index of the shard was written.
    async fn newest_generation(&self, shard: &TenantShardId) -> Result<Generation, ScanError> {
        let storage = &self.resources.remote.storage;
        let prefix = RemotePath::new(remote_timelines_prefix(shard))?;
        let listing =
            storage.list(Some(&prefix), ListMode::NoDelimiter, None, &self.cancel).await?;
        let keys = listing.keys.iter();
        let generations = keys.filter_map(|key| IndexPart::parse_object_name(key.object_name()));
        Ok(generations.max().unwrap_or(Generation::None))
    }
}
