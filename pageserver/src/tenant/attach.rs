//! Attaches a tenant: reads from remote storage what there is, loads it, and starts serving.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use layer_format::{IndexPart, TimelineMetadata};
use remote_storage::RemotePathError;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, error, info, warn};
use utils::{Generation, TimelineId};

use crate::remote::{DownloadError, download_index, list_timelines};
use crate::tasks::{ExitOnError, TaskKind};
use crate::timeline::{LoadTimelineError, Timeline};

use super::directory::{DirectoryError, purge_leftovers};
use super::order::{OrderError, ancestors_first};
use super::startup::{ATTACH_SECONDS, PRELOAD_SECONDS, TenantStartup};
use super::{SpawnMode, Tenant};

/// Indexes that are downloaded at once.
const INDEX_DOWNLOADS: usize = 32;

/// A tenant cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its timelines cannot be listed.
    #[error("cannot list the timelines in remote storage: {0}")]
    List(DownloadError),
    /// Its timelines do not fit together.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A timeline cannot be loaded.
    #[error("cannot load timeline {timeline}: {source}")]
    Load {
        /// The timeline.
        timeline: TimelineId,
        /// Why.
        source: LoadTimelineError,
    },
    /// The local directory cannot be changed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// It was shut down meanwhile.
    #[error("Shut down while Attaching")]
    Cancelled,
    /// A test asked for it.
    #[error("{0}")]
    Failpoint(&'static str),
}

/// What remote storage says about a tenant.
#[derive(Default)]
struct Preload {
    live: BTreeMap<TimelineId, IndexPart>,
    deleted: BTreeMap<TimelineId, IndexPart>,
    unreadable: BTreeMap<TimelineId, String>,
}

impl Tenant {
    /// Starts attaching in the background.
    pub(super) fn spawn_attach(
        self: &Arc<Self>,
        mode: SpawnMode,
        mut startup: Option<TenantStartup>,
    ) {
        let tenant = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "attach",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
            generation = ?self.generation,
        );
        let runtime = self.resources.remote.runtime.clone();
        let task = async move {
            let attached = tenant.attach(mode, startup.as_mut()).await;
            if let Some(startup) = &mut startup {
                startup.loaded();
            }
            match attached {
                Ok(capacity) => {
                    if capacity.is_some() {
                        tenant.wait_for_initial_sizes().await;
                    }
                    drop(capacity);
                    if let Some(startup) = startup {
                        startup.warmed_up();
                    }
                }
                Err(failure) => tenant.attach_failed(&failure),
            }
            Ok::<(), std::convert::Infallible>(())
        };
        self.tasks.spawn_on(&runtime, TaskKind::Attach, ExitOnError::No, task.instrument(span));
    }

    fn attach_failed(&self, failure: &AttachError) {
        match failure {
            AttachError::Cancelled => {
                info!("attach cancelled, setting tenant state to Broken: {failure}");
            }
            AttachError::List(_)
            | AttachError::Order(_)
            | AttachError::Load { .. }
            | AttachError::Directory(_)
            | AttachError::Path(_)
            | AttachError::Failpoint(_) => {
                error!("attach failed, setting tenant state to Broken: {failure}");
            }
        }
        self.state.set_broken(&failure.to_string());
    }

    /// Sizes are computed from layers of every timeline: the permit bounds that load, too.
    async fn wait_for_initial_sizes(&self) {
        self.initial_sizes.close();
        // Both branches are cancel-safe: they only look.
        tokio::select! {
            () = self.initial_sizes.wait() => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// Attaches. Returns the permit it took to be warmed up, if it took one.
    async fn attach(
        self: &Arc<Self>,
        mode: SpawnMode,
        startup: Option<&mut TenantStartup>,
    ) -> Result<Option<OwnedSemaphorePermit>, AttachError> {
        let capacity = match mode {
            SpawnMode::Eager => None,
            SpawnMode::Lazy => self.wait_for_capacity().await?,
        };
        let started = Instant::now();
        self.sleep_before_attaching().await?;
        let preload = self.preload().await?;
        PRELOAD_SECONDS.observe(started.elapsed().as_secs_f64());
        if let Some(startup) = startup {
            startup.remote_read();
        }
        let present: BTreeSet<TimelineId> = preload
            .live
            .keys()
            .chain(preload.unreadable.keys())
            .chain(preload.deleted.keys())
            .copied()
            .collect();
        let (live, broken) = split_by_ancestry(preload.live, preload.unreadable);
        self.timelines().unloadable = broken;
        for (timeline, index) in ancestors_first(live, |index| index.metadata.ancestor_timeline)? {
            self.load_timeline(timeline, index).await?;
        }
        for (timeline, index) in preload.deleted {
            self.resume_deletion(timeline, &index);
        }
        let timelines_dir = self.conf.timelines_path(&self.tenant_shard_id);
        blocking(move || purge_leftovers(&timelines_dir, &present)).await??;
        utils::pausable_failpoint!(
            "attach-before-activate",
            Err(AttachError::Failpoint("attach-before-activate"))
        );
        utils::sleep_failpoint!("attach-before-activate-sleep");
        self.activate()?;
        ATTACH_SECONDS.observe(started.elapsed().as_secs_f64());
        Ok(capacity)
    }

    /// Lets tests make attaching slow. A detach ends it at once.
    async fn sleep_before_attaching(&self) -> Result<(), AttachError> {
        let sleep = async {
            utils::sleep_failpoint!("before-attaching-tenant");
        };
        // Both branches are cancel-safe: neither carries state.
        tokio::select! {
            () = sleep => Ok(()),
            () = self.cancel.cancelled() => Err(AttachError::Cancelled),
        }
    }

    /// Waits for a permit, unless somebody wants the tenant now.
    async fn wait_for_capacity(&self) -> Result<Option<OwnedSemaphorePermit>, AttachError> {
        // All branches are cancel-safe: a permit that was not handed out stays in the semaphore.
        tokio::select! {
            permit = Arc::clone(&self.resources.warmup).acquire_owned() => Ok(permit.ok()),
            () = self.wanted.cancelled() => Ok(None),
            () = self.cancel.cancelled() => Err(AttachError::Cancelled),
        }
    }

    /// Reads every index.
    async fn preload(&self) -> Result<Preload, AttachError> {
        let storage = &self.resources.remote.storage;
        let shard = &self.tenant_shard_id;
        let timelines = match list_timelines(storage, shard, &self.cancel).await {
            Err(DownloadError::Cancelled) => return Err(AttachError::Cancelled),
            other => other.map_err(AttachError::List)?,
        };
        // Boxed: the compiler cannot prove of a stream of borrowing futures that it can be sent.
        let downloads: Vec<BoxFuture<'_, _>> =
            timelines.into_iter().map(|timeline| self.download_index(timeline).boxed()).collect();
        let mut downloads = futures::stream::iter(downloads).buffer_unordered(INDEX_DOWNLOADS);
        let mut preload = Preload::default();
        while let Some((timeline, found)) = downloads.next().await {
            match found {
                Ok((index, _)) if index.deleted_at.is_some() => {
                    preload.deleted.insert(timeline, index);
                }
                Ok((index, _)) => {
                    preload.live.insert(timeline, index);
                }
                Err(DownloadError::NotFound(_)) => {
                    info!(timeline_id = %timeline, "index_part not found on remote");
                }
                Err(DownloadError::Cancelled) => return Err(AttachError::Cancelled),
                Err(failure) => {
                    warn!(timeline_id = %timeline,
                        "Failed to load index_part from remote storage, failed creation? ({failure})");
                    preload.unreadable.insert(timeline, failure.to_string());
                }
            }
        }
        Ok(preload)
    }

    async fn download_index(
        &self,
        timeline: TimelineId,
    ) -> (TimelineId, Result<(IndexPart, Generation), DownloadError>) {
        let storage = &self.resources.remote.storage;
        let shard = &self.tenant_shard_id;
        let found = download_index(storage, shard, &timeline, self.generation, &self.cancel).await;
        (timeline, found)
    }

    async fn load_timeline(
        self: &Arc<Self>,
        timeline: TimelineId,
        index: IndexPart,
    ) -> Result<(), AttachError> {
        let ancestor = match index.metadata.ancestor_timeline {
            Some(ancestor) => self.timelines().loaded.get(&ancestor).cloned(),
            None => None,
        };
        let client = self.remote_client(timeline);
        client.init_from_index(&index);
        let params = self.timeline_params(timeline, index.metadata.clone(), ancestor, client);
        let loaded = Timeline::load(params, &index)
            .await
            .map_err(|source| AttachError::Load { timeline, source })?;
        self.timelines().loaded.insert(timeline, loaded);
        Ok(())
    }

    fn resume_deletion(self: &Arc<Self>, timeline: TimelineId, index: &IndexPart) {
        info!(timeline_id = %timeline, "resuming the deletion of a timeline");
        let client = self.remote_client(timeline);
        client.init_to_continue_deletion(index);
        self.timelines().deleting.insert(timeline);
        self.spawn_deletion(timeline, client, None);
    }

    /// Starts the loops of the tenant and the WAL receivers of its timelines.
    fn activate(self: &Arc<Self>) -> Result<(), AttachError> {
        if !self.state.start_activating() {
            return Err(AttachError::Cancelled);
        }
        let timelines = self.list_timelines();
        for timeline in &timelines {
            self.activate_timeline(timeline);
        }
        self.spawn_loops();
        if !self.state.set_active() {
            return Err(AttachError::Cancelled);
        }
        info!(
            activated_timelines = timelines.len(),
            post_state = "Active",
            "activation attempt finished"
        );
        Ok(())
    }
}

/// Moves the branches of unreadable timelines to the unreadable ones.
fn split_by_ancestry(
    live: BTreeMap<TimelineId, IndexPart>,
    unreadable: BTreeMap<TimelineId, String>,
) -> (BTreeMap<TimelineId, IndexPart>, BTreeMap<TimelineId, String>) {
    let (mut live, mut broken) = (live, unreadable);
    loop {
        let orphan = live.iter().find_map(|(timeline, index)| {
            let TimelineMetadata { ancestor_timeline, .. } = &index.metadata;
            let ancestor = ancestor_timeline.filter(|ancestor| broken.contains_key(ancestor))?;
            Some((*timeline, ancestor))
        });
        let Some((timeline, ancestor)) = orphan else { return (live, broken) };
        live.remove(&timeline);
        broken.insert(timeline, format!("its ancestor {ancestor} cannot be loaded"));
    }
}

/// Runs blocking work on the blocking pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AttachError> {
    // Blocking work is not cancelled; it can only fail to return by panicking.
    tokio::task::spawn_blocking(work).await.map_err(|_| AttachError::Cancelled)
}
