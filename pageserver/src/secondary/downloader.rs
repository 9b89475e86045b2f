//! Follows the heatmap: brings the layers it names here, and removes those it does not.
//!
//! One pass at a time. Requests that arrive during a pass share the next one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use layer_format::paths::remote_heatmap_path;
use pageserver_api::models::SecondaryProgress;
use remote_storage::{RemotePath, RemotePathError, RemoteStorageError};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};
use utils::TimelineId;

use super::heatmap::{Heatmap, HeatmapLayer};
use super::metrics::{HEATMAP_DOWNLOADS, LAYER_DOWNLOADS};
use super::{SecondaryTenant, state};
use crate::remote::{DownloadError, download_layer_file};
use crate::tasks::{ExitOnError, TaskKind};
use crate::tenant::directory;

/// How long a pass may take before it starts anew with a newer heatmap, in periods.
const DEADLINE_PERIODS: u32 = 2;
/// Time between passes while no heatmap tells a better one.
pub(super) const DEFAULT_PERIOD: Duration = Duration::from_secs(60);

/// A pass ended early.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecondaryDownloadError {
    /// The location ceases to be secondary.
    #[error("the location is not secondary any more")]
    Cancelled,
    /// Something could not be had from remote storage.
    #[error("cannot download for a secondary location: {0}")]
    Download(Arc<DownloadError>),
    /// The heatmap makes no sense.
    #[error("cannot read heatmap {path}: {reason}")]
    Heatmap {
        /// Its key.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The local directory cannot be read or changed.
    #[error("cannot change the local directory of a secondary location: {0}")]
    Local(String),
    /// A path cannot be formed.
    #[error("cannot form the path of the heatmap: {0}")]
    Path(String),
}

impl From<DownloadError> for SecondaryDownloadError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Cancelled => SecondaryDownloadError::Cancelled,
            error => SecondaryDownloadError::Download(Arc::new(error)),
        }
    }
}

impl From<RemoteStorageError> for SecondaryDownloadError {
    fn from(error: RemoteStorageError) -> Self {
        DownloadError::from(error).into()
    }
}

impl From<RemotePathError> for SecondaryDownloadError {
    fn from(error: RemotePathError) -> Self {
        SecondaryDownloadError::Path(error.to_string())
    }
}

/// How waiting for a download ended.
#[derive(Clone, Debug)]
pub enum WaitForDownload {
    /// Everything the heatmap names is here.
    Finished,
    /// The wait is over, the download goes on.
    StillRunning,
    /// It failed.
    Failed(SecondaryDownloadError),
}

/// The end of a pass.
#[derive(Clone)]
struct PassEnded {
    number: u64,
    result: Result<(), SecondaryDownloadError>,
}

#[derive(Default)]
struct Wanted {
    /// The last pass that somebody wants.
    number: u64,
    /// The pass that is under way.
    running: Option<u64>,
}

/// Numbers passes, so that whoever asks knows which one to wait for.
pub(super) struct Requests {
    wanted: Mutex<Wanted>,
    ended: watch::Sender<PassEnded>,
}

impl Default for Requests {
    fn default() -> Self {
        Requests {
            wanted: Mutex::default(),
            ended: watch::Sender::new(PassEnded { number: 0, result: Ok(()) }),
        }
    }
}

impl Requests {
    /// Asks for a pass that begins after this call. Returns its number, and whether the caller has
    /// to see to it that it takes place.
    fn ask(&self) -> (u64, bool) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        match wanted.running {
            Some(running) => {
                wanted.number = running + 1;
                (running + 1, false)
            }
            None => {
                wanted.number += 1;
                wanted.running = Some(wanted.number);
                (wanted.number, true)
            }
        }
    }

    /// Notes the end of a pass; returns the next one if somebody wants it.
    fn end(&self, number: u64, result: Result<(), SecondaryDownloadError>) -> Option<u64> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (wanted.number > number).then_some(wanted.number);
        wanted.running = next;
        self.ended.send_replace(PassEnded { number, result });
        next
    }
}

impl SecondaryTenant {
    /// Downloads what the newest heatmap names, and waits for it, at most for `limit`.
    pub async fn download(self: &Arc<Self>, limit: Option<Duration>) -> WaitForDownload {
        let mut ended = self.requests.ended.subscribe();
        let (number, first) = self.requests.ask();
        if first {
            self.spawn_passes(number);
        }
        let wait = ended.wait_for(|pass| pass.number >= number);
        let cancelled = WaitForDownload::Failed(SecondaryDownloadError::Cancelled);
        let limited = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        // All branches are cancel-safe: they only look.
        tokio::select! {
            pass = wait => match pass.map(|pass| pass.result.clone()) {
                Ok(Ok(())) => WaitForDownload::Finished,
                Ok(Err(failure)) => WaitForDownload::Failed(failure),
                // The sender lives as long as `self`.
                Err(_) => cancelled,
            },
            () = limited => WaitForDownload::StillRunning,
            () = self.cancel.cancelled() => cancelled,
        }
    }

    /// Runs passes in a task until nobody wants another one.
    fn spawn_passes(self: &Arc<Self>, first: u64) {
        let secondary = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "secondary_download",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
        );
        let task = async move {
            let mut number = first;
            loop {
                let result = secondary.pass().await;
                if let Err(failure) = &result {
                    report(failure);
                }
                match secondary.requests.end(number, result) {
                    Some(next) if !secondary.cancel.is_cancelled() => number = next,
                    Some(_) | None => return Ok::<(), Infallible>(()),
                }
            }
        };
        let runtime = &self.remote.runtime;
        let task = task.instrument(span);
        self.tasks.spawn_on(runtime, TaskKind::SecondaryDownloads, ExitOnError::No, task);
    }

    /// One pass, started anew as long as a newer heatmap should have come meanwhile.
    async fn pass(&self) -> Result<(), SecondaryDownloadError> {
        let _entered = self.gate.enter().map_err(|_| SecondaryDownloadError::Cancelled)?;
        while !self.follow_heatmap().await? {
            info!("restarting the download with a newer heatmap");
        }
        Ok(())
    }

    /// Follows the newest heatmap. False if that took too long.
    async fn follow_heatmap(&self) -> Result<bool, SecondaryDownloadError> {
        let started = Instant::now();
        let Some((heatmap, etag)) = self.download_heatmap().await? else { return Ok(true) };
        self.scan_once().await?;
        let directory_of =
            |timeline: &TimelineId| self.conf.timeline_path(&self.tenant_shard_id, timeline);
        let changes = self.state().apply(&heatmap, directory_of);
        for timeline in &changes.removed_timelines {
            info!("Timeline no longer in heatmap, removing from secondary location: {timeline}");
        }
        let removed: Vec<_> = changes.removed_timelines.iter().map(directory_of).collect();
        let files = changes.removed_files;
        blocking(move || {
            files.iter().for_each(|file| {
                state::remove_file(file);
            });
            removed.iter().try_for_each(|directory| directory::remove_timeline_dir(directory))
        })
        .await?
        .map_err(|failure| SecondaryDownloadError::Local(failure.to_string()))?;
        let (layers_total, bytes_total) = heatmap.totals();
        self.set_progress(|progress| {
            progress.layers_total = layers_total - changes.given_up.0;
            progress.bytes_total = bytes_total - changes.given_up.1;
            (progress.layers_downloaded, progress.bytes_downloaded) = changes.present;
        });
        let period = heatmap.upload_period().unwrap_or(DEFAULT_PERIOD);
        let deadline = started + period.saturating_mul(DEADLINE_PERIODS);
        let wanted = changes.wanted.len();
        for (timeline, layer) in changes.wanted {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.download_layer(timeline, &layer).await?;
        }
        if wanted > 0 {
            info!("Wrote timeline_detail for {wanted} touched layers");
        }
        self.state().finished_etag = Some(etag);
        Ok(true)
    }

    /// The newest heatmap and its version. `None` if there is none, or none that is new.
    async fn download_heatmap(&self) -> Result<Option<(Heatmap, String)>, SecondaryDownloadError> {
        let path = RemotePath::new(remote_heatmap_path(&self.tenant_shard_id))?;
        HEATMAP_DOWNLOADS.inc();
        let download = match self.remote.storage.download(&path, &self.cancel).await {
            Err(RemoteStorageError::NotFound(_)) => {
                info!("No heatmap found for tenant.  This is fine if it is new.");
                return Ok(None);
            }
            download => download?,
        };
        let written: DateTime<Utc> = download.last_modified.into();
        self.set_progress(|progress| {
            progress.heatmap_mtime = Some(written.to_rfc3339_opts(SecondsFormat::Millis, true));
        });
        if self.state().finished_etag.as_deref() == Some(&download.etag) {
            tracing::debug!("Heatmap unchanged since last successful download");
            return Ok(None);
        }
        let etag = download.etag.clone();
        let bytes = download.collect(&path).await?;
        let heatmap = serde_json::from_slice(&bytes).map_err(|failure| {
            SecondaryDownloadError::Heatmap { path: path.to_string(), reason: failure.to_string() }
        })?;
        let local = self.conf.heatmap_path(&self.tenant_shard_id);
        blocking(move || utils::fs_ext::write_crash_safe(local.as_std_path(), &bytes))
            .await?
            .map_err(|failure| SecondaryDownloadError::Local(failure.to_string()))?;
        Ok(Some((heatmap, etag)))
    }

    /// Learns what is on disk, the first time.
    async fn scan_once(&self) -> Result<(), SecondaryDownloadError> {
        if self.state().is_scanned() {
            return Ok(());
        }
        let directory = self.conf.timelines_path(&self.tenant_shard_id);
        let shard = self.tenant_shard_id.to_index();
        let found = blocking(move || state::scan(&directory, shard)).await?;
        let found = found.map_err(|failure| SecondaryDownloadError::Local(failure.to_string()))?;
        self.state().adopt(found);
        Ok(())
    }

    async fn download_layer(
        &self,
        timeline: TimelineId,
        layer: &HeatmapLayer,
    ) -> Result<(), SecondaryDownloadError> {
        utils::sleep_failpoint!("secondary-layer-download-sleep");
        let directory = self.conf.timeline_path(&self.tenant_shard_id, &timeline);
        let local_path = directory.join(layer.name.local_file_name(layer.metadata.generation));
        blocking(move || std::fs::create_dir_all(directory))
            .await?
            .map_err(|failure| SecondaryDownloadError::Local(failure.to_string()))?;
        let download = download_layer_file(
            &self.remote.storage,
            &self.tenant_shard_id,
            &timeline,
            &layer.name,
            &layer.metadata,
            &local_path,
            &self.cancel,
        );
        let size_bytes = layer.metadata.file_size;
        match download.await {
            Ok(_) => {
                LAYER_DOWNLOADS.inc();
                self.state().downloaded(timeline, layer);
                self.set_progress(|progress| {
                    progress.layers_downloaded += 1;
                    progress.bytes_downloaded += size_bytes;
                });
                Ok(())
            }
            // Compacted away since the heatmap was made.
            Err(DownloadError::NotFound(_)) => {
                self.set_progress(|progress| {
                    progress.layers_total -= 1;
                    progress.bytes_total -= size_bytes;
                });
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn set_progress(&self, change: impl FnOnce(&mut SecondaryProgress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Writes the one log line about a failed pass.
fn report(failure: &SecondaryDownloadError) {
    match failure {
        SecondaryDownloadError::Cancelled => info!("secondary download cancelled"),
        SecondaryDownloadError::Download(error) if is_out_of_space(error) => {
            warn!("Insufficient space while downloading.  Will retry later.");
        }
        SecondaryDownloadError::Download(_)
        | SecondaryDownloadError::Heatmap { .. }
        | SecondaryDownloadError::Local(_)
        | SecondaryDownloadError::Path(_) => warn!("{failure}; will retry later"),
    }
}

fn is_out_of_space(error: &DownloadError) -> bool {
    match error {
        DownloadError::Local { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
        _ => false,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SecondaryDownloadError> {
    // Blocking work is not cancelled; it can only fail to return by panicking.
    tokio::task::spawn_blocking(work).await.map_err(|_| SecondaryDownloadError::Cancelled)
}

impl SecondaryTenant {
    /// How long to wait between passes.
    pub(super) fn period(&self) -> Duration {
        self.state().upload_period.unwrap_or(DEFAULT_PERIOD)
    }
}
