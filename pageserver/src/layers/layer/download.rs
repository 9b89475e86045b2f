//! Bringing an evicted layer's file here: one download at a time, whoever asks.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use utils::backoff::exponential_backoff_duration;

use super::file::OpenFile;
use super::{Inner, LayerAccessError};
use crate::context::{DownloadBehavior, RequestContext};
use crate::layers::metrics::{
    DOWNLOADED_BYTES, DOWNLOADED_LAYERS, INITS_CANCELLED, REDOWNLOADED_AFTER, RareEvent,
    UNEXPECTED_DOWNLOADS,
};
use crate::remote::DownloadError;
use crate::tasks::{ExitOnError, TaskKind};

/// Base of the waits between attempts of different requesters.
const BACKOFF_BASE_SECONDS: f64 = 1.5;
/// Longest such wait.
const BACKOFF_MAX_SECONDS: f64 = 60.0;

/// Makes the file resident, downloading it if need be and allowed.
pub(super) async fn bring_here(
    layer: &Arc<Inner>,
    ctx: &RequestContext,
) -> Result<Arc<OpenFile>, LayerAccessError> {
    let permit = tokio::select! {
        permit = Arc::clone(&layer.init).acquire_owned() => permit,
        () = layer.owner.cancel.cancelled() => return Err(LayerAccessError::Cancelled),
    };
    let permit = permit.map_err(|_| LayerAccessError::Cancelled)?;
    // Whoever held the permit before may have done the work.
    if let Some(file) = layer.resident_file(true) {
        return Ok(file);
    }
    if is_here_already(layer).await? {
        RareEvent::InitNeededNoDownload.count();
        return Ok(layer.set_resident());
    }
    check_allowed(layer, ctx)?;
    tracing::info!("downloading on-demand for task kind {}: {}", ctx.task_kind(), layer.name);
    download(layer, permit).await
}

fn check_allowed(layer: &Inner, ctx: &RequestContext) -> Result<(), LayerAccessError> {
    match ctx.download_behavior() {
        DownloadBehavior::Download => Ok(()),
        DownloadBehavior::Warn => {
            warn_of_unexpected(ctx);
            Ok(())
        }
        DownloadBehavior::Error if layer.owner.forbidden_downloads_only_warn => {
            warn_of_unexpected(ctx);
            Ok(())
        }
        DownloadBehavior::Error => Err(LayerAccessError::DownloadRequired(layer.name.clone())),
    }
}

fn warn_of_unexpected(ctx: &RequestContext) {
    UNEXPECTED_DOWNLOADS.inc();
    let kind = ctx.task_kind();
    tracing::warn!("unexpectedly on-demand downloading for task kind {kind}");
}

/// Counts a requester that goes away before the layer is here.
struct Requester {
    served: bool,
}

impl Drop for Requester {
    fn drop(&mut self) {
        if !self.served {
            INITS_CANCELLED.inc();
        }
    }
}

/// Looks for a whole file at the local path. Anything else there is an error: it would be
/// overwritten.
async fn is_here_already(layer: &Inner) -> Result<bool, LayerAccessError> {
    let unusable = |reason| LayerAccessError::LocalFile { path: layer.local_path.clone(), reason };
    match tokio::fs::metadata(&layer.local_path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(error.to_string())),
        Ok(stat) if !stat.is_file() => Err(unusable("it is not a file".to_owned())),
        Ok(stat) if stat.len() != layer.metadata.file_size => {
            let expected = layer.metadata.file_size;
            Err(unusable(format!("it has {} bytes, expected {expected}", stat.len())))
        }
        Ok(_) => Ok(true),
    }
}

/// Downloads in a task of its own, so that a requester that gives up does not waste it.
async fn download(
    layer: &Arc<Inner>,
    permit: OwnedSemaphorePermit,
) -> Result<Arc<OpenFile>, LayerAccessError> {
    let guard = layer.owner.gate.enter().map_err(|_| LayerAccessError::Cancelled)?;
    let (sender, receiver) = oneshot::channel();
    let inner = Arc::clone(layer);
    let task = async move {
        let result = download_with_backoff(&inner).await;
        let result = result.map(|()| inner.set_resident());
        drop((permit, guard));
        let event = match &result {
            Ok(_) => RareEvent::InitCompletedWithoutRequester,
            Err(_) => RareEvent::DownloadFailedWithoutRequester,
        };
        // The requester may have given up; the file is here for the next one.
        if sender.send(result).is_err() {
            event.count();
        }
        Ok::<(), Infallible>(())
    };
    let owner = &layer.owner;
    owner.tasks.spawn_on(&owner.runtime, TaskKind::LayerDownload, ExitOnError::No, task);
    let mut requester = Requester { served: false };
    let result = receiver.await;
    requester.served = true;
    result.unwrap_or(Err(LayerAccessError::Cancelled))
}

async fn download_with_backoff(layer: &Inner) -> Result<(), LayerAccessError> {
    let owner = &layer.owner;
    let failures = layer.consecutive_failures.load(Ordering::Relaxed);
    if failures > 0 {
        let wait =
            exponential_backoff_duration(failures, BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = owner.cancel.cancelled() => return Err(LayerAccessError::Cancelled),
        }
    }
    let download = owner.remote.download_layer_file(
        &layer.name,
        &layer.metadata,
        &layer.local_path,
        &owner.cancel,
    );
    match download.await {
        Ok(bytes) => {
            layer.consecutive_failures.store(0, Ordering::Relaxed);
            DOWNLOADED_LAYERS.inc();
            DOWNLOADED_BYTES.inc_by(bytes);
            owner.counters.record_write(bytes);
            if let Some(evicted_at) = layer.lock().evicted_at {
                REDOWNLOADED_AFTER.observe(evicted_at.elapsed().as_secs_f64());
            }
            Ok(())
        }
        Err(DownloadError::Cancelled) => Err(LayerAccessError::Cancelled),
        Err(error) => {
            let failures = layer.consecutive_failures.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!("layer file download failed {failures} times in a row: {error}");
            Err(LayerAccessError::Download(Arc::new(error)))
        }
    }
}
