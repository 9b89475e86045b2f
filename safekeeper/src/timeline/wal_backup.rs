//! Archiving the complete segments of a timeline.
//!
//! One of the safekeepers does it, chosen from what the broker tells without any coordination
//! ([`election`]). `backup_lsn` moves to the end of a segment only once all earlier ones are
//! archived. Everything archived is below the commit position, which no truncation reaches.

pub(super) mod election;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use utils::Lsn;
use wal_quorum::storage::WalStorage;

use super::manager::Task;
use super::{Timeline, WalResidentTimeline};
use crate::archive::{ArchiveError, WalArchive};
use crate::metrics;
use crate::wal_storage::{segment_start, segno};

/// How often to look whether a segment that was left early is filled.
const ZEROS_POLL_INTERVAL: Duration = Duration::from_millis(100);
const RETRY_BASE: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Doubling the base this often exceeds the maximum.
const RETRY_MAX_DOUBLINGS: u32 = 10;

/// The manager's side of the archiving task.
#[derive(Debug, Default)]
pub struct WalBackup {
    task: Option<(Task<()>, CancellationToken)>,
}

impl WalBackup {
    /// Whether this safekeeper archives right now.
    pub fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Starts archiving, if there is an archive.
    pub fn start(&mut self, timeline: WalResidentTimeline) {
        let Some(archive) = timeline.archive().cloned() else { return };
        tracing::info!("elected for backup");
        let cancel = timeline.cancellation().child_token();
        let runtime = timeline.node().roles.wal_backup.clone();
        let task = BackupTask { archive, timeline, cancel: cancel.clone() };
        self.task = Some((Task::spawn(&runtime, "WAL backup", task.run()), cancel));
    }

    /// Stops archiving and waits until it has.
    pub async fn stop(&mut self) {
        if let Some((task, cancel)) = self.task.take() {
            cancel.cancel();
            task.join().await;
        }
    }
}

impl Timeline {
    async fn advance_backup_lsn(&self, lsn: Lsn) {
        let mut state = self.write().await;
        let memory = &mut state.control_mut().memory;
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
        // Commits within a segment are no reason to wake up.
        let mut commit_segno = self.timeline.watch_commit_segno();
        let mut failures = 0;
        while !self.cancel.is_cancelled() {
            commit_segno.borrow_and_update();
            // Peers may have archived meanwhile, so the position is read anew each time.
            let (commit, backup, written) = {
                let state = self.timeline.read().await;
                let commit = state.commit_lsn();
                // The guard keeps the WAL here, so that there is an acceptor.
                let written =
                    state.acceptor().map_or(commit, |acceptor| acceptor.wal().write_lsn());
                (commit, state.control().memory.backup_lsn, written)
            };
            // After a log switch the commit position is in the next segment before the zeros that
            // fill this one have arrived; nothing says when they have.
            let awaits_zeros = segno(written) < segno(commit);
            let end = segno(commit.min(written));
            if segno(backup) >= end {
                // A watch, a timer and a token are cancel safe.
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    _ = commit_segno.changed() => {}
                    () = tokio::time::sleep(ZEROS_POLL_INTERVAL), if awaits_zeros => {}
                }
                continue;
            }
            match self.archive_segments(segno(backup), end).await {
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
