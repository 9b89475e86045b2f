//! The manager: the one task that decides what happens to a timeline in the background.
//!
//! It lives as long as the timeline, wakes when the state changed (at most a few times a second)
//! or a deadline passed, and keeps the timeline's activity, the control file and the disk usage
//! up to date. It must never wait for something that waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::Instrument;

use super::wal_backup::WalBackup;
use super::{Timeline, TimelineError, WalResidentTimeline};
use crate::metrics;

/// Changes that come in faster than this are looked at together.
const MIN_PAUSE: Duration = Duration::from_millis(300);

/// Starts the manager of a timeline. It ends with the timeline, whose deletion waits for it.
pub fn spawn(timeline: &Arc<Timeline>) -> Result<(), TimelineError> {
    // The connection that happened to create the timeline is no parent of its manager.
    let span = tracing::info_span!(parent: None, "manager", ttid = %timeline.ttid());
    let manager = Manager {
        version: timeline.watch_version(),
        num_computes: timeline.receivers().subscribe_count(),
        timeline: timeline.resident()?,
        backup: WalBackup::default(),
    };
    tokio::spawn(manager.run().instrument(span));
    Ok(())
}

struct Manager {
    timeline: WalResidentTimeline,
    version: watch::Receiver<u64>,
    num_computes: watch::Receiver<usize>,
    backup: WalBackup,
}

impl Manager {
    async fn run(mut self) {
        let cancel = self.timeline.cancellation().clone();
        loop {
            metrics::MANAGER_ITERATIONS.inc();
            self.version.borrow_and_update();
            let backup_required = self.update_backup().await;
            self.update_activity(backup_required).await;
            let wake_up = self.save_control_file().await;
            self.remove_wal().await;
            // Everything awaited here is cancel safe: watches, sleeps and a token.
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.changed() => {}
                () = sleep_until(wake_up) => {}
            }
        }
        self.timeline.active.store(false, Ordering::Relaxed);
        self.backup.stop().await;
        self.timeline.archiving.store(false, Ordering::Relaxed);
    }

    /// Starts or stops archiving; returns whether there is something to archive.
    async fn update_backup(&mut self) -> bool {
        let required = self.timeline.backup_required().await;
        self.backup.update(&self.timeline, required).await;
        self.timeline.archiving.store(self.backup.is_running(), Ordering::Relaxed);
        required
    }

    /// Waits for a change of the state or of the number of computes. The senders live in the
    /// timeline this holds, so the channels cannot close.
    async fn changed(&mut self) {
        tokio::time::sleep(MIN_PAUSE).await;
        tokio::select! {
            _ = self.version.changed() => {}
            _ = self.num_computes.changed() => {}
        }
    }

    async fn update_activity(&self, backup_required: bool) {
        let num_computes = self.timeline.receivers().count();
        let (remote_consistent_lsn, commit_lsn) = {
            let state = self.timeline.read().await;
            let memory = state.acceptor.state().memory;
            (memory.remote_consistent_lsn, memory.commit_lsn)
        };
        let active = backup_required || num_computes > 0 || remote_consistent_lsn < commit_lsn;
        if self.timeline.active.swap(active, Ordering::Relaxed) != active {
            metrics::MANAGER_ACTIVE_CHANGES.inc();
            tracing::info!(
                "timeline active={active} now, remote_consistent_lsn={remote_consistent_lsn}, \
                 commit_lsn={commit_lsn}"
            );
        }
    }

    /// Saves what runs ahead of the control file once it is old enough; otherwise tells when.
    async fn save_control_file(&self) -> Option<Instant> {
        let due = {
            let state = self.timeline.read().await;
            let state = state.acceptor.state();
            if !state.is_dirty() {
                return None;
            }
            state.store().last_persisted() + self.timeline.config().control_file_save_interval
        };
        if Instant::now() < due {
            return Some(due);
        }
        match self.timeline.flush_control_file().await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!("cannot save the control file: {error}");
                Some(Instant::now() + self.timeline.config().control_file_save_interval)
            }
        }
    }

    async fn remove_wal(&self) {
        if let Some(last) = self.timeline.removable_segno().await
            && let Err(error) = self.timeline.remove_wal(last)
        {
            tracing::warn!("{error}");
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
