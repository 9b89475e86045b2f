//! Archiving the complete segments of a timeline.
//!
//! One of the safekeepers does it, chosen from what the broker tells without any coordination
//! ([`election`]). `backup_lsn` moves to the end of a segment only once all earlier ones are
//! archived. Everything archived is below the commit position, which no truncation reaches.

mod election;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::Lsn;

use super::{Timeline, WalResidentTimeline};
use crate::archive::{ArchiveError, WalArchive};
use crate::metrics;
use crate::wal_storage::{segment_start, segno};

const RETRY_BASE: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Doubling the base this often exceeds the maximum.
const RETRY_MAX_DOUBLINGS: u32 = 10;

/// The manager's side of the archiving task.
#[derive(Debug, Default)]
pub struct WalBackup {
    task: Option<(JoinHandle<()>, CancellationToken)>,
}

impl WalBackup {
    /// Whether this safekeeper archives right now.
    pub fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Starts or stops archiving as needed.
    pub async fn update(&mut self, timeline: &WalResidentTimeline, required: bool) {
        let elected = required && timeline.is_elected_offloader().await;
        match (elected, &self.task) {
            (true, None) => match (timeline.archive(), timeline.resident()) {
                (Some(archive), Ok(resident)) => self.start(archive.clone(), resident),
                (None, _) | (_, Err(_)) => {}
            },
            (false, Some(_)) => {
                tracing::info!("stepping down from backup, required={required}");
                self.stop().await;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn start(&mut self, archive: Arc<WalArchive>, timeline: WalResidentTimeline) {
        tracing::info!("elected for backup");
        let cancel = timeline.cancellation().child_token();
        let task = BackupTask { archive, timeline, cancel: cancel.clone() };
        let span = tracing::info_span!("WAL backup");
        self.task = Some((tokio::spawn(task.run().instrument(span)), cancel));
    }

    /// Stops archiving and waits until it has.
    pub async fn stop(&mut self) {
        if let Some((handle, cancel)) = self.task.take() {
            cancel.cancel();
            if let Err(error) = handle.await {
                tracing::error!("WAL backup task failed: {error}");
            }
        }
    }
}

impl Timeline {
    /// Whether there is, or soon will be, something to archive.
    pub(super) async fn backup_required(&self) -> bool {
        if !self.config.wal_backup_enabled {
            return false;
        }
        let state = self.read().await;
        let memory = state.acceptor.state().memory;
        self.receivers.count() > 0 || segno(memory.commit_lsn) > segno(memory.backup_lsn)
    }

    async fn is_elected_offloader(&self) -> bool {
        let state = self.read().await;
        let peers = state.peers.alive(Instant::now(), self.config.heartbeat_timeout);
        let backup_lsn = state.acceptor.state().memory.backup_lsn;
        let lag = self.config.max_offloader_lag_bytes;
        let elected = election::elect(&peers, backup_lsn, lag, self.ttid.timeline_id);
        elected == Some(self.config.id)
    }

    async fn advance_backup_lsn(&self, lsn: Lsn) {
        let mut state = self.write().await;
        let memory = &mut state.acceptor.state_mut().memory;
        memory.backup_lsn = memory.backup_lsn.max(lsn);
    }
}

struct BackupTask {
    archive: Arc<WalArchive>,
    timeline: WalResidentTimeline,
    cancel: CancellationToken,
}

impl BackupTask {
    async fn run(self) {
        metrics::WAL_BACKUP_TASKS_STARTED.inc();
        let mut commit_lsn = self.timeline.watch_commit_lsn();
        let mut failures = 0;
        while !self.cancel.is_cancelled() {
            let commit = *commit_lsn.borrow_and_update();
            // Peers may have archived meanwhile, so the position is read anew each time.
            let backup = self.timeline.read().await.acceptor.state().memory.backup_lsn;
            if segno(backup) >= segno(commit) {
                // A watch and a token are cancel safe.
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    _ = commit_lsn.changed() => {}
                }
                continue;
            }
            match self.archive_segments(segno(backup), segno(commit)).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    metrics::BACKUP_ERRORS.inc();
                    tracing::warn!("{error}");
                    let pause = RETRY_BASE * 2u32.pow(failures);
                    failures = (failures + 1).min(RETRY_MAX_DOUBLINGS);
                    tokio::select! {
                        () = self.cancel.cancelled() => {}
                        () = tokio::time::sleep(pause.min(RETRY_MAX)) => {}
                    }
                }
            }
        }
        metrics::WAL_BACKUP_TASKS_FINISHED.inc();
    }

    /// Archives the segments `from..to`, some at a time, and counts them in order.
    async fn archive_segments(&self, from: u64, to: u64) -> Result<(), ArchiveError> {
        let ttid = self.timeline.ttid();
        let segments = self.timeline.segments();
        let upload = |segno| {
            let file = segments.complete_path(segno);
            async move {
                self.archive.upload_segment(ttid, segno, file, &self.cancel).await.map(|()| segno)
            }
        };
        let parallel = self.timeline.config().wal_backup_parallel_jobs;
        let mut uploads = stream::iter(from..to).map(upload).buffered(parallel);
        while let Some(uploaded) = uploads.next().await {
            let end = segment_start(uploaded? + 1);
            metrics::BACKED_UP_SEGMENTS.inc();
            self.timeline.advance_backup_lsn(end).await;
        }
        Ok(())
    }
}
