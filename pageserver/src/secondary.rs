//! Secondary locations: warm caches that can become attached at once.
//!
//! An attached location tells in a *heatmap* which layers it holds; a warm secondary downloads
//! them. A secondary serves nobody, writes nothing remotely, and deletes nothing remotely: its
//! files are a cache of immutable objects. What it keeps on disk is adopted when it is promoted.

mod downloader;
pub mod heatmap;
mod metrics;
mod scheduler;
mod state;
mod uploader;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use layer_format::LayerName;
use pageserver_api::models::{SecondaryProgress, TenantConfigOverrides};
use pageserver_api::shard::{ShardIdentity, TenantShardId};
use tokio_util::sync::CancellationToken;
use utils::TimelineId;
use utils::gate::Gate;

use crate::config::{LocationConf, LocationMode, PageServerConf};
use crate::remote::RemoteResources;
use crate::tasks::TaskScope;

pub use downloader::{SecondaryDownloadError, WaitForDownload};
pub use metrics::preinitialize as preinitialize_metrics;
pub use scheduler::{Activity, run as run_scheduler};
pub use state::ResidentSecondaryLayer;
pub use uploader::{HeatmapUploadError, HeatmapUploadState, upload_heatmap};

use downloader::Requests;
use state::SecondaryState;

/// What of a secondary location can change while it is here.
#[derive(Clone, Debug)]
struct Settings {
    warm: bool,
    tenant_conf: TenantConfigOverrides,
}

/// A shard that this node keeps a cache of.
pub struct SecondaryTenant {
    /// The shard.
    pub tenant_shard_id: TenantShardId,
    /// Which keys it holds.
    pub shard_identity: ShardIdentity,
    conf: &'static PageServerConf,
    remote: RemoteResources,
    settings: RwLock<Settings>,
    /// Fires when the location ceases to be secondary.
    pub cancel: CancellationToken,
    gate: Gate,
    tasks: TaskScope,
    state: Mutex<SecondaryState>,
    progress: Mutex<SecondaryProgress>,
    requests: Requests,
}

impl SecondaryTenant {
    /// The cache of a secondary location.
    pub fn new(
        conf: &'static PageServerConf,
        shard: TenantShardId,
        location: &LocationConf,
        warm: bool,
        remote: RemoteResources,
    ) -> Arc<Self> {
        let cancel = CancellationToken::new();
        Arc::new(SecondaryTenant {
            tenant_shard_id: shard,
            shard_identity: location.shard,
            conf,
            remote,
            settings: RwLock::new(Settings { warm, tenant_conf: location.tenant_conf.clone() }),
            tasks: TaskScope::new("secondary location", cancel.clone()),
            cancel,
            gate: Gate::new(),
            state: Mutex::default(),
            progress: Mutex::default(),
            requests: Requests::default(),
        })
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, SecondaryState> {
        // Each step keeps the state in line with the disk, or forgets a file that is there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it downloads.
    pub fn is_warm(&self) -> bool {
        self.settings().warm
    }

    /// The location as it is now.
    pub fn location(&self) -> LocationConf {
        let settings = self.settings();
        LocationConf {
            mode: LocationMode::Secondary { warm: settings.warm },
            shard: self.shard_identity,
            tenant_conf: settings.tenant_conf,
        }
    }

    /// Changes what can be changed in place.
    pub fn reconfigure(&self, warm: bool, tenant_conf: TenantConfigOverrides) {
        let settings = Settings { warm, tenant_conf };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// How far the downloads are.
    pub fn progress(&self) -> SecondaryProgress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the layers that are here.
    pub fn resident_bytes(&self) -> u64 {
        self.state().resident_bytes()
    }

    /// The layers that are here, for eviction, and how many were evicted.
    pub fn layers_for_eviction(&self) -> (Vec<ResidentSecondaryLayer>, usize) {
        self.state().layers_for_eviction()
    }

    /// Removes the file of a layer. It comes back only when the attached location uses it again.
    pub async fn evict_layer(&self, timeline: TimelineId, name: LayerName) -> bool {
        let Ok(_entered) = self.gate.enter() else { return false };
        let Some(path) = self.state().evict(&timeline, &name, |metadata| {
            let directory = self.conf.timeline_path(&self.tenant_shard_id, &timeline);
            directory.join(name.local_file_name(metadata.generation))
        }) else {
            return false;
        };
        let removal = tokio::task::spawn_blocking(move || state::remove_file(&path));
        removal.await.unwrap_or(false)
    }

    /// Stops what works on the location, and returns when nothing does any more.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.tasks.shutdown().await;
        self.gate.close().await;
    }

    /// Whether it has stopped completely.
    pub fn is_shut_down(&self) -> bool {
        self.gate.close_complete()
    }
}

#[cfg(test)]
mod tests;
