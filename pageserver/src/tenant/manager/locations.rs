//! Changes of a tenant's location: attach, change of generation, reconfiguration.

use std::sync::Arc;
use std::time::Duration;

use pageserver_api::shard::TenantShardId;
use tracing::{error, info, warn};
use utils::Generation;

use crate::config::location::{self, LocationFileError};
use crate::config::{AttachMode, AttachedTenantConf, LocationConf, LocationMode};
use crate::tenant::directory::{self, DirectoryError};
use crate::tenant::slots::{AcquireMode, SlotError};
use crate::tenant::{ShutdownMode, SpawnMode, Tenant};

use super::TenantManager;

/// A location cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum UpsertLocationError {
    /// The slot cannot be had.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// A newer attachment of the tenant is here already.
    #[error("Generation {new:?} is less than existing {existing:?}")]
    StaleGeneration {
        /// The generation asked for.
        new: Generation,
        /// The generation it is attached in.
        existing: Generation,
    },
    /// There are no secondary locations.
    #[error(
        "secondary locations are not supported by this version; use an attached mode or Detached"
    )]
    Secondary,
    /// The tenant's directory cannot be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The data could not be brought to remote storage.
    #[error("cannot flush to remote storage: {0}")]
    Flush(String),
    /// The task that does blocking work ended early.
    #[error("Shutting down")]
    Interrupted,
}

impl TenantManager {
    /// Attaches a tenant, or changes how it is attached. Does not wait until it is active.
    pub async fn upsert_location(
        self: &Arc<Self>,
        shard: TenantShardId,
        location: LocationConf,
        flush: Option<Duration>,
        mode: SpawnMode,
    ) -> Result<Arc<Tenant>, UpsertLocationError> {
        let LocationMode::Attached { generation, attach_mode } = location.mode else {
            return Err(UpsertLocationError::Secondary);
        };
        if let Some(tenant) = self.change_in_place(shard, generation, &location).await? {
            if let (AttachMode::Stale, Some(limit)) = (attach_mode, flush) {
                flush_remote(&tenant, limit).await?;
            }
            return Ok(tenant);
        }
        let guard = self.slots.acquire(shard, AcquireMode::Any)?;
        let mut mode = mode;
        if let Some(old) = guard.old() {
            check_generation(old, generation)?;
            // Data in memory is dropped: a planned hand-over has flushed it before, and
            // safekeepers have it in any case.
            old.shutdown(ShutdownMode::Hard).await;
            mode = SpawnMode::Eager;
        }
        self.persist(shard, location.clone()).await?;
        let Some(tenant) = self.spawn(shard, &location, mode) else {
            return Err(UpsertLocationError::Secondary);
        };
        if let Err(failure) = guard.upsert(Arc::clone(&tenant)) {
            tenant.shutdown(ShutdownMode::Hard).await;
            return Err(failure.into());
        }
        info!(tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug(),
            "attached in generation {generation:?}");
        Ok(tenant)
    }

    /// The fast path: the same generation needs no restart. `None` if that does not apply.
    async fn change_in_place(
        &self,
        shard: TenantShardId,
        generation: Generation,
        location: &LocationConf,
    ) -> Result<Option<Arc<Tenant>>, UpsertLocationError> {
        let tenant = match self.slots.get(&shard) {
            Ok(tenant) => tenant,
            Err(SlotError::NotFound(_)) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        check_generation(&tenant, generation)?;
        let unusable = tenant.state.is_broken() || tenant.state.is_stopping();
        let same = tenant.generation == generation && tenant.shard_identity == location.shard;
        if unusable || !same {
            return Ok(None);
        }
        self.reconfigure(&tenant, location.clone()).await?;
        Ok(Some(tenant))
    }

    /// Changes attach mode and options of a tenant: on disk first, then in memory.
    pub async fn reconfigure(
        &self,
        tenant: &Arc<Tenant>,
        location: LocationConf,
    ) -> Result<(), UpsertLocationError> {
        let LocationMode::Attached { generation, attach_mode } = location.mode else {
            return Err(UpsertLocationError::Secondary);
        };
        // One at a time, so that memory and disk end up with the same.
        let _changing = tenant.conf_lock.lock().await;
        self.persist(tenant.tenant_shard_id, location.clone()).await?;
        tenant.tenant_conf.store(AttachedTenantConf::new(
            generation,
            attach_mode,
            location.tenant_conf,
            &self.conf.tenant_defaults,
        ));
        Ok(())
    }

    /// Writes the location file. A node that cannot record in which generation it works must not go
    /// on: after a restart it would write objects in a generation that another node may have.
    async fn persist(
        &self,
        shard: TenantShardId,
        location: LocationConf,
    ) -> Result<(), UpsertLocationError> {
        let conf = self.conf;
        let write = move || -> Result<Result<(), LocationFileError>, DirectoryError> {
            directory::create_tenant_dir(conf, &shard)?;
            Ok(location::persist(&conf.tenant_location_path(&shard), &location))
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Err(failure) = written.map_err(|_| UpsertLocationError::Interrupted)?? {
            error!("aborting because the location of tenant {shard} cannot be saved: {failure}");
            std::process::abort();
        }
        Ok(())
    }
}

fn check_generation(old: &Tenant, new: Generation) -> Result<(), UpsertLocationError> {
    if new < old.generation {
        return Err(UpsertLocationError::StaleGeneration { new, existing: old.generation });
    }
    Ok(())
}

/// Brings everything to remote storage, in limited time.
async fn flush_remote(tenant: &Arc<Tenant>, limit: Duration) -> Result<(), UpsertLocationError> {
    match tokio::time::timeout(limit, tenant.flush_remote()).await {
        Ok(outcome) => outcome.map_err(UpsertLocationError::Flush),
        Err(_) => {
            warn!("Timed out waiting for flush to remote storage, proceeding anyway.");
            Ok(())
        }
    }
}
