//! Makes the heatmap of an attached location and stores it, if it says something new.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use layer_format::paths::remote_heatmap_path;
use pageserver_api::models::TenantConfig;
use remote_storage::{RemotePath, RemotePathError, RemoteStorageError};
use utils::backoff;

use super::heatmap::{Heatmap, HeatmapLayer, HeatmapTimeline};
use super::metrics::{UPLOAD_DURATION, UPLOAD_ERRORS, UPLOADS};
use crate::tenant::Tenant;

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// What is remembered of the last upload.
#[derive(Debug, Default)]
pub struct HeatmapUploadState {
    last: Option<Digests>,
}

/// Tells heatmaps apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digests {
    whole: u64,
    without_access_times: u64,
}

/// A heatmap could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum HeatmapUploadError {
    /// The tenant is shutting down.
    #[error("Shutting down")]
    Cancelled,
    /// The tenant does not serve all its timelines yet, or not any more.
    #[error("the tenant does not serve all its timelines")]
    NotActive,
    /// The heatmap could not be put into words.
    #[error("cannot serialise a heatmap: {0}")]
    Serialise(#[from] serde_json::Error),
    /// Its path cannot be formed.
    #[error(transparent)]
    Path(#[from] RemotePathError),
    /// The store failed.
    #[error("cannot upload a heatmap: {0}")]
    Storage(RemoteStorageError),
}

/// The heatmap of a tenant as it is now. `None` unless every timeline serves: what is not loaded
/// must not be taken for absent.
fn make(tenant: &Tenant, conf: &TenantConfig) -> Option<Heatmap> {
    if !tenant.state.is_active() || !tenant.unloadable_timelines().is_empty() {
        return None;
    }
    let timelines = tenant.list_timelines();
    if timelines.iter().any(|timeline| !timeline.is_active()) {
        return None;
    }
    let timelines = timelines.iter().map(|timeline| {
        let mut layers: Vec<HeatmapLayer> = timeline
            .layers()
            .iter()
            .filter(|layer| layer.is_evictable())
            .map(|layer| HeatmapLayer {
                name: layer.name().clone(),
                metadata: layer.metadata().clone(),
                access_time: layer.latest_activity(),
            })
            .collect();
        // What was used last is most likely to be used next, so it is downloaded first.
        layers.sort_by(|a, b| b.access_time.cmp(&a.access_time).then(a.name.cmp(&b.name)));
        HeatmapTimeline { timeline_id: timeline.timeline_id, layers }
    });
    let period_ms = u64::try_from(conf.heatmap_period.as_millis()).unwrap_or(u64::MAX);
    Some(Heatmap {
        generation: tenant.generation,
        timelines: timelines.collect(),
        upload_period_ms: (period_ms > 0).then_some(period_ms),
    })
}

/// Uploads the heatmap of an attached tenant. Unless `force` is set, one that says nothing new is
/// not uploaded. Returns whether there was an upload.
pub async fn upload_heatmap(tenant: &Arc<Tenant>, force: bool) -> Result<bool, HeatmapUploadError> {
    let _entered = tenant.gate.enter().map_err(|_| HeatmapUploadError::Cancelled)?;
    // One at a time, so that an older heatmap does not replace a newer one.
    let mut state = tenant.heatmap_upload.lock().await;
    let started = Instant::now();
    let conf = Arc::clone(&tenant.tenant_conf.load());
    let Some(heatmap) = make(tenant, &conf.effective) else {
        return Err(HeatmapUploadError::NotActive);
    };
    let bytes = serde_json::to_vec(&heatmap)?;
    let (_, total_bytes) = heatmap.totals();
    let digests = Digests {
        whole: digest(&bytes),
        without_access_times: digest(&serde_json::to_vec(&heatmap.without_access_times())?),
    };
    if !force
        && state.last.is_some_and(|last| {
            // A small tenant is warm in no time; mere reads of it are not worth an upload.
            let small = total_bytes < conf.effective.checkpoint_distance;
            last.whole == digests.whole
                || small && last.without_access_times == digests.without_access_times
        })
    {
        return Ok(false);
    }
    let path = RemotePath::new(remote_heatmap_path(&tenant.tenant_shard_id))?;
    let bytes = bytes::Bytes::from(bytes);
    let storage = tenant.remote_storage();
    let upload = || async {
        let result = storage.upload_bytes(bytes.clone(), &path, &tenant.cancel).await;
        if result.is_err() {
            UPLOAD_ERRORS.inc();
        }
        result
    };
    let permanent = RemoteStorageError::is_permanent;
    let what = format!("upload {path}");
    let uploaded =
        backoff::retry(upload, permanent, WARN_THRESHOLD, u32::MAX, &what, &tenant.cancel).await;
    match uploaded {
        None => return Err(HeatmapUploadError::Cancelled),
        Some(Err(error)) if error.is_cancelled() => return Err(HeatmapUploadError::Cancelled),
        Some(Err(error)) => return Err(HeatmapUploadError::Storage(error)),
        Some(Ok(())) => {}
    }
    UPLOADS.inc();
    UPLOAD_DURATION.observe(started.elapsed().as_secs_f64());
    tracing::debug!(bytes = bytes.len(), "uploaded a heatmap");
    state.last = Some(digests);
    Ok(true)
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
