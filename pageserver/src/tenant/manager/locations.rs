//! Changes of a tenant's location: attach, promotion, demotion, change of generation,
//! reconfiguration.

use std::sync::Arc;
use std::time::Duration;

use pageserver_api::models::TenantConfigOverrides;
use pageserver_api::shard::TenantShardId;
use tracing::{error, info, warn};
use utils::Generation;

use crate::config::location::{self, LocationFileError};
use crate::config::{AttachMode, AttachedTenantConf, LocationConf, LocationMode};
use crate::tenant::directory::{self, DirectoryError};
use crate::tenant::slots::{AcquireMode, SlotError};
use crate::tenant::{Location, ShutdownMode, SpawnMode, Tenant};

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
    /// Attaches a tenant or makes a secondary location of it, or changes how it is here. Does not
    /// wait until it is active.
    pub async fn upsert_location(
        self: &Arc<Self>,
        shard: TenantShardId,
        location: LocationConf,
        flush: Option<Duration>,
        mode: SpawnMode,
    ) -> Result<Location, UpsertLocationError> {
        if let Some(changed) = self.change_in_place(shard, &location, flush).await? {
            return Ok(changed);
        }
        let guard = self.slots.acquire(shard, AcquireMode::Any)?;
        let mut mode = mode;
        if let Some(old) = guard.old() {
            if let (Location::Attached(tenant), LocationMode::Attached { generation, .. }) =
                (old, location.mode)
            {
                check_generation(tenant, generation)?;
            }
            if let Location::Attached(tenant) = old {
                mode = SpawnMode::Eager;
                self.delete_while_current(tenant.tenant_conf.load().attach_mode);
            }
            // Data in memory is dropped: a planned hand-over has flushed it before, and
            // safekeepers have it in any case. Files stay: they are what makes the change quick.
            old.shutdown(ShutdownMode::Hard).await;
        }
        self.persist(shard, location.clone()).await?;
        let new = self.spawn(shard, &location, mode, None);
        if let Err(failure) = guard.upsert(new.clone()) {
            new.shutdown(ShutdownMode::Hard).await;
            return Err(failure.into());
        }
        info!(tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug(),
            "location is now {:?}", location.mode);
        Ok(new)
    }

    /// The fast path: the same role and generation need no restart. `None` if that does not apply.
    async fn change_in_place(
        &self,
        shard: TenantShardId,
        location: &LocationConf,
        flush: Option<Duration>,
    ) -> Result<Option<Location>, UpsertLocationError> {
        let old = match self.slots.get(&shard) {
            Ok(old) => old,
            Err(SlotError::NotFound(_)) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        match (&old, location.mode) {
            (Location::Attached(tenant), LocationMode::Attached { generation, attach_mode }) => {
                check_generation(tenant, generation)?;
                let unusable = tenant.state.is_broken() || tenant.state.is_stopping();
                let same =
                    tenant.generation == generation && tenant.shard_identity == location.shard;
                if unusable || !same {
                    return Ok(None);
                }
                let old_mode = tenant.tenant_conf.load().attach_mode;
                if attach_mode == AttachMode::Stale {
                    self.delete_while_current(old_mode);
                }
                self.reconfigure(tenant, attach_mode, location.clone()).await?;
                if let (AttachMode::Stale, Some(limit)) = (attach_mode, flush) {
                    flush_remote(tenant, limit).await?;
                    // What the flush replaced: the caller raises the generation when it has our answer.
                    self.delete_while_current(old_mode);
                }
            }
            (Location::Secondary(secondary), LocationMode::Secondary { warm }) => {
                if secondary.shard_identity != location.shard || secondary.cancel.is_cancelled() {
                    return Ok(None);
                }
                self.persist(shard, location.clone()).await?;
                secondary.reconfigure(warm, location.tenant_conf.clone());
            }
            (Location::Attached(_), LocationMode::Secondary { .. })
            | (Location::Secondary(_), LocationMode::Attached { .. }) => return Ok(None),
        }
        Ok(Some(old))
    }

    /// Has pending deletions executed before somebody else is given the tenant: in a generation that
    /// is stale by then they are dropped, and the objects leak. A hint, nobody waits for it. A
    /// location that was stale before has nothing to win.
    fn delete_while_current(&self, old_mode: AttachMode) {
        if old_mode.may_upload() {
            self.resources.remote.deletion_queue.flush_advisory();
        }
    }

    /// Changes the options of a tenant.
    pub async fn set_tenant_conf(
        &self,
        tenant: &Arc<Tenant>,
        tenant_conf: TenantConfigOverrides,
    ) -> Result<(), UpsertLocationError> {
        let attach_mode = tenant.tenant_conf.load().attach_mode;
        let location = LocationConf { tenant_conf, ..tenant.location() };
        self.reconfigure(tenant, attach_mode, location).await
    }

    /// Changes attach mode and options of a tenant: on disk first, then in memory.
    async fn reconfigure(
        &self,
        tenant: &Arc<Tenant>,
        attach_mode: AttachMode,
        location: LocationConf,
    ) -> Result<(), UpsertLocationError> {
        // One at a time, so that memory and disk end up with the same.
        let _changing = tenant.conf_lock.lock().await;
        self.persist(tenant.tenant_shard_id, location.clone()).await?;
        tenant.tenant_conf.store(AttachedTenantConf::new(
            tenant.generation,
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
