//! All tenants of this node: who is here, who may change that, and finding the right shard for a
//! request.

mod detach_ancestor;
mod locations;
mod maintenance;
mod resolve;
mod time_travel;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use futures::future::join_all;
use layer_format::paths::remote_tenant_prefix;
use pageserver_api::shard::TenantShardId;
use remote_storage::{ListMode, RemotePath, RemotePathError, RemoteStorageError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use utils::backoff;

use crate::config::location::LocationFileError;
use crate::config::{LocationConf, LocationMode, PageServerConf};
use crate::control_plane::NoAnswer;
use crate::deletion_queue::DeletionError;
use crate::tasks::{ExitOnError, TaskKind, TaskScope};

use super::directory::{self, DirectoryError};
use super::slots::{AcquireMode, Slot, SlotError, SlotGuard, SlotMap};
use super::startup::{StartupProgress, TenantStartup};
use super::{Location, ShutdownMode, SpawnMode, Tenant, TenantResources};
use crate::secondary::SecondaryTenant;

pub use detach_ancestor::DetachTimelineError;
pub use locations::UpsertLocationError;
pub use resolve::{GetActiveTimelineError, ShardSelector};
pub use time_travel::TimeTravelError;

/// One entry of the map.
pub type TenantSlot = Slot<Location>;

/// How long a shutdown may take before the log says so.
const QUIET_SHUTDOWN: Duration = Duration::from_millis(500);
/// Failures of a tenant's removal from remote storage before the log says WARN, and the caller is
/// told.
const DELETE_RETRIES: (u32, u32) = (1, 3);

/// A tenant cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveTenantError {
    /// Its slot cannot be had.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The local directory cannot be removed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its objects cannot be removed.
    #[error("cannot delete the tenant from remote storage: {0}")]
    Storage(RemoteStorageError),
    /// The process is shutting down.
    #[error("Shutting down")]
    Cancelled,
    /// A path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
}

/// The tenants cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The local directory is unusable.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The process is stopping.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The process is stopping.
    #[error(transparent)]
    DeletionQueue(#[from] DeletionError),
}

/// All tenants of this node.
pub struct TenantManager {
    conf: &'static PageServerConf,
    resources: TenantResources,
    slots: SlotMap<Location>,
    /// Removal of directories of tenants that are gone.
    cleanup: TaskScope,
    cancel: CancellationToken,
}

impl TenantManager {
    /// A manager that knows no tenants yet.
    pub fn new(
        conf: &'static PageServerConf,
        resources: TenantResources,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(TenantManager {
            conf,
            resources,
            slots: SlotMap::default(),
            cleanup: TaskScope::new("tenant removal", cancel.clone()),
            cancel,
        })
    }

    /// Attaches what the local directory says was attached when the process ended, and what the
    /// control plane says of it. Without one the generation is the one that was persisted: whoever
    /// drives this node raises it when it moves a tenant.
    pub async fn start(self: &Arc<Self>, progress: &StartupProgress) -> Result<(), StartError> {
        let conf = self.conf;
        let scan = tokio::task::spawn_blocking(move || directory::scan_tenants(conf));
        let found = scan.await.map_err(|failure| DirectoryError {
            action: "scan",
            path: conf.tenants_path(),
            source: std::io::Error::other(failure),
        })??;
        let remote = &self.resources.remote;
        let settled = remote.control_plane.settle(conf, found).await?;
        remote.deletion_queue.recover(settled.generations())?;
        for path in settled.removed {
            self.remove_in_background(path);
        }
        let locations: BTreeMap<TenantShardId, Location> = settled
            .locations
            .into_iter()
            .map(|(shard, location)| (shard, self.start_location(shard, location, progress)))
            .collect();
        let attached = locations.values().filter(|location| location.attached().is_some()).count();
        info!("attaching {attached} tenants, {} secondary", locations.len() - attached);
        progress.all_added();
        self.slots.open(locations);
        Ok(())
    }

    /// The location found in a directory; one that cannot be read is a broken tenant, so that it is
    /// seen, and not reported as absent.
    fn start_location(
        &self,
        shard: TenantShardId,
        location: Result<LocationConf, LocationFileError>,
        progress: &StartupProgress,
    ) -> Location {
        match location {
            Ok(location) => {
                let startup = matches!(location.mode, LocationMode::Attached { .. })
                    .then(|| progress.add_tenant());
                self.spawn(shard, &location, SpawnMode::Lazy, startup)
            }
            Err(failure) => {
                error!(tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug(),
                    "Failed to load tenant config, failed to read it: {failure}");
                Location::Attached(Tenant::new_broken(
                    self.conf,
                    shard,
                    self.resources.clone(),
                    &failure.to_string(),
                ))
            }
        }
    }

    /// Makes a location, and starts to attach it if it is to be attached.
    fn spawn(
        &self,
        shard: TenantShardId,
        location: &LocationConf,
        mode: SpawnMode,
        startup: Option<TenantStartup>,
    ) -> Location {
        let resources = self.resources.clone();
        match location.mode {
            LocationMode::Attached { generation, attach_mode } => {
                let tenant = Tenant::attached(
                    self.conf,
                    shard,
                    location,
                    (generation, attach_mode),
                    resources,
                );
                tenant.spawn_attach(mode, startup);
                Location::Attached(tenant)
            }
            LocationMode::Secondary { warm } => Location::Secondary(SecondaryTenant::new(
                self.conf,
                shard,
                location,
                warm,
                resources.remote,
            )),
        }
    }

    /// The tenant that is attached in a slot.
    pub fn get(&self, shard: &TenantShardId) -> Result<Arc<Tenant>, SlotError> {
        let location = self.slots.get(shard)?;
        location.attached().cloned().ok_or(SlotError::NotFound(*shard))
    }

    /// The secondary location in a slot.
    pub fn get_secondary(&self, shard: &TenantShardId) -> Result<Arc<SecondaryTenant>, SlotError> {
        let location = self.slots.get(shard)?;
        location.secondary().cloned().ok_or(SlotError::NotFound(*shard))
    }

    /// What a slot holds.
    pub fn get_location(&self, shard: &TenantShardId) -> Result<Location, SlotError> {
        self.slots.get(shard)
    }

    /// Every slot.
    pub fn list(&self) -> Result<Vec<(TenantShardId, TenantSlot)>, SlotError> {
        self.slots.list(None)
    }

    /// Publishes how full the page cache is.
    pub(super) fn observe_page_cache(&self) {
        crate::storage_io::metrics::set_cached_blocks(self.resources.io.pages.len());
    }

    /// Every attached tenant; none before the map is filled.
    pub fn attached(&self) -> Vec<Arc<Tenant>> {
        self.locations().iter().filter_map(Location::attached).cloned().collect()
    }

    /// Every secondary location; none before the map is filled.
    pub fn secondaries(&self) -> Vec<Arc<SecondaryTenant>> {
        self.locations().iter().filter_map(Location::secondary).cloned().collect()
    }

    fn locations(&self) -> Vec<Location> {
        let slots = self.slots.list(None).unwrap_or_default().into_iter();
        slots
            .filter_map(|(_, slot)| match slot {
                Slot::Occupied(location) => Some(location),
                Slot::InProgress(_) => None,
            })
            .collect()
    }

    /// Removes a tenant from this node; its objects stay in remote storage.
    pub async fn detach(self: &Arc<Self>, shard: TenantShardId) -> Result<(), RemoveTenantError> {
        let guard = self.slots.acquire(shard, AcquireMode::MustExist)?;
        self.remove_local(shard, &guard).await?;
        guard.remove();
        // While our generation may still be the current one.
        self.resources.remote.deletion_queue.flush_advisory();
        info!(tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug(), "tenant detached");
        Ok(())
    }

    /// Removes a tenant from this node and from remote storage. Deleting what is not there is fine.
    pub async fn delete(self: &Arc<Self>, shard: TenantShardId) -> Result<(), RemoveTenantError> {
        let guard = self.slots.acquire(shard, AcquireMode::Any)?;
        self.remove_local(shard, &guard).await?;
        // The slot stays taken, so that nobody attaches the tenant in between.
        utils::pausable_failpoint!("tenant-delete-before-remote");
        self.delete_objects(shard).await?;
        utils::pausable_failpoint!("tenant-delete-after-remote");
        guard.remove();
        info!(tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug(), "tenant deleted");
        Ok(())
    }

    async fn remove_local(
        &self,
        shard: TenantShardId,
        guard: &SlotGuard<Location>,
    ) -> Result<(), RemoveTenantError> {
        if let Some(location) = guard.old() {
            location.shutdown(ShutdownMode::Hard).await;
        }
        utils::pausable_failpoint!("tenant-detach-before-rename");
        let path = self.conf.tenant_path(&shard);
        let rename = tokio::task::spawn_blocking(move || directory::rename_away(&path));
        let renamed = rename.await.map_err(|_| RemoveTenantError::Cancelled)??;
        utils::pausable_failpoint!("tenant-detach-after-rename");
        if let Some(temp) = renamed {
            self.remove_in_background(temp);
        }
        Ok(())
    }

    fn remove_in_background(&self, path: Utf8PathBuf) {
        let removal = async move {
            let remove = move || directory::remove_all(&path);
            match tokio::task::spawn_blocking(remove).await {
                Ok(outcome) => outcome.map_err(|failure| failure.to_string()),
                Err(failure) => Err(failure.to_string()),
            }
        };
        let runtime = &self.resources.remote.runtime;
        self.cleanup.spawn_on(runtime, TaskKind::MgmtRequest, ExitOnError::No, removal);
    }

    /// Deletes everything under a shard's prefix.
    async fn delete_objects(&self, shard: TenantShardId) -> Result<(), RemoveTenantError> {
        let prefix = RemotePath::new(remote_tenant_prefix(&shard))?;
        let storage = &self.resources.remote.storage;
        let delete = || async {
            let listing =
                storage.list(Some(&prefix), ListMode::NoDelimiter, None, &self.cancel).await?;
            storage.delete_objects(&listing.keys, &self.cancel).await
        };
        let (warn_threshold, max_retries) = DELETE_RETRIES;
        let what = format!("delete prefix {prefix}");
        let permanent = RemoteStorageError::is_permanent;
        let outcome =
            backoff::retry(delete, permanent, warn_threshold, max_retries, &what, &self.cancel);
        match outcome.await {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) if failure.is_cancelled() => Err(RemoveTenantError::Cancelled),
            Some(Err(failure)) => Err(RemoveTenantError::Storage(failure)),
            None => Err(RemoveTenantError::Cancelled),
        }
    }

    /// Stops all tenants, writing what is in memory to remote storage. They stay in the map.
    pub async fn shutdown(&self) {
        let slots = self.slots.close();
        // While our generations are current: they may be given to another node while we are away.
        self.resources.remote.deletion_queue.flush_advisory();
        let count = slots.len();
        let all = join_all(slots.into_iter().map(|(shard, slot)| async move {
            let location = match slot {
                Slot::Occupied(location) => Some(location),
                Slot::InProgress(done) => {
                    done.cancelled().await;
                    self.slots.get(&shard).ok()
                }
            };
            if let Some(location) = location {
                location.shutdown(ShutdownMode::FreezeAndFlush).await;
            }
        }));
        tokio::pin!(all);
        if tokio::time::timeout(QUIET_SHUTDOWN, &mut all).await.is_err() {
            info!("waiting for tenants to shutdown: {count}");
            all.await;
        }
        self.cleanup.wait().await;
    }
}

#[cfg(test)]
mod tests;
