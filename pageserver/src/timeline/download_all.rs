//! Brings all layers of a timeline here, on request.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use pageserver_api::models::{DownloadRemoteLayersTaskInfo, DownloadRemoteLayersTaskState};
use tracing::Instrument;

use super::Timeline;
use crate::context::{DownloadBehavior, RequestContext};
use crate::layers::{Layer, LayerAccessError};
use crate::tasks::{ExitOnError, TaskKind};

/// Tells runs apart, over all timelines.
static NEXT_TASK_ID: AtomicU64 = AtomicU64::new(1);

/// The latest run, if there was one.
#[derive(Debug, Default)]
pub(super) struct DownloadAllLayers {
    latest: Mutex<Option<DownloadRemoteLayersTaskInfo>>,
}

impl DownloadAllLayers {
    fn lock(&self) -> MutexGuard<'_, Option<DownloadRemoteLayersTaskInfo>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut DownloadRemoteLayersTaskInfo)) {
        if let Some(info) = self.lock().as_mut() {
            change(info);
        }
    }
}

impl Timeline {
    /// Starts downloading all layers that are not here. `Err` with the run that is under way, if
    /// there is one.
    pub fn spawn_download_all_layers(
        self: &Arc<Self>,
        concurrency: NonZeroUsize,
    ) -> Result<DownloadRemoteLayersTaskInfo, DownloadRemoteLayersTaskInfo> {
        let remote: Vec<Layer> =
            self.layers().into_iter().filter(|layer| !layer.is_resident()).collect();
        let info = {
            let mut latest = self.download_all.lock();
            if let Some(running) = latest.as_ref()
                && running.state == DownloadRemoteLayersTaskState::Running
            {
                return Err(running.clone());
            }
            latest
                .insert(DownloadRemoteLayersTaskInfo {
                    task_id: NEXT_TASK_ID.fetch_add(1, Ordering::Relaxed).to_string(),
                    state: DownloadRemoteLayersTaskState::Running,
                    total_layer_count: remote.len() as u64,
                    successful_download_count: 0,
                    failed_download_count: 0,
                })
                .clone()
        };
        let timeline = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "download_all_remote_layers",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
            timeline_id = %self.timeline_id,
            task_id = %info.task_id,
        );
        let task = async move {
            timeline.download_layers(remote, concurrency).await;
            Ok::<(), Infallible>(())
        };
        let runtime = &self.layer_owner.runtime;
        let kind = TaskKind::DownloadAllRemoteLayers;
        self.tasks.spawn_on(runtime, kind, ExitOnError::No, task.instrument(span));
        Ok(info)
    }

    /// The latest run, if there was one since the timeline was loaded.
    pub fn download_all_layers_info(&self) -> Option<DownloadRemoteLayersTaskInfo> {
        self.download_all.lock().clone()
    }

    async fn download_layers(&self, layers: Vec<Layer>, concurrency: NonZeroUsize) {
        let kind = TaskKind::DownloadAllRemoteLayers;
        let ctx = RequestContext::new(kind, DownloadBehavior::Download).without_access_stats();
        // Boxed: the compiler cannot prove of a stream of borrowing futures that it can be sent.
        let downloads: Vec<BoxFuture<'_, ()>> =
            layers.iter().map(|layer| self.download_one(layer, ctx).boxed()).collect();
        let all = futures::stream::iter(downloads).buffer_unordered(concurrency.get());
        // Both branches are cancel-safe: a download goes on by itself, and ends with the timeline.
        let state = tokio::select! {
            () = all.collect::<()>() => DownloadRemoteLayersTaskState::Completed,
            () = self.cancel.cancelled() => DownloadRemoteLayersTaskState::ShutDown,
        };
        self.download_all.update(|info| info.state = state);
        tracing::info!("download of all layers has ended: {state:?}");
    }

    async fn download_one(&self, layer: &Layer, ctx: RequestContext) {
        match layer.get_or_maybe_download(&ctx).await {
            Ok(_) => self.download_all.update(|info| info.successful_download_count += 1),
            Err(LayerAccessError::Cancelled) => {}
            Err(failure) => {
                tracing::error!(layer = %layer.name(), "layer download failed: {failure}");
                self.download_all.update(|info| info.failed_download_count += 1);
            }
        }
    }
}
