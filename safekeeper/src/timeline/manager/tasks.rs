//! Starting and ending the tasks of one timeline.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument;
use wal_quorum::control_file::PartialRemoteSegment;

use super::snapshot::Snapshot;
use super::{Manager, RETRY_PAUSE};
use crate::metrics;
use crate::metrics::GaugeGuard;
use crate::timeline::TimelineError;
use crate::timeline::partial_backup::PartialBackup;

/// A task of a timeline. It watches the timeline's cancellation itself.
#[derive(Debug)]
pub(in crate::timeline) struct Task<T> {
    name: &'static str,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Task<T> {
    /// Starts it on `runtime`; a gauge counts it while it runs.
    pub(in crate::timeline) fn spawn(
        runtime: &Handle,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let counted = async move {
            let _running = GaugeGuard::task(name);
            work.await
        };
        let handle = runtime.spawn(counted.instrument(tracing::info_span!("task", name)));
        Self { name, handle }
    }

    /// Waits for its end; `None` if it panicked, which is logged.
    pub(in crate::timeline) async fn join(mut self) -> Option<T> {
        self.joined().await
    }

    async fn joined(&mut self) -> Option<T> {
        match (&mut self.handle).await {
            Ok(result) => Some(result),
            Err(error) => {
                tracing::error!("task {} failed: {error}", self.name);
                None
            }
        }
    }
}

/// Waits for the end of a task, if there is one, and empties its slot. Cancel safe.
pub(in crate::timeline) async fn ended<T: Send + 'static>(slot: &mut Option<Task<T>>) -> Option<T> {
    let result = match slot {
        Some(task) => task.joined().await,
        None => return std::future::pending().await,
    };
    *slot = None;
    result
}

impl Manager {
    /// Starts or stops archiving; returns whether there is something to archive.
    pub(super) async fn update_backup(&mut self, state: &Snapshot) -> bool {
        let config = self.timeline.config();
        let has_compute = self.timeline.receivers().count() > 0;
        let required = config.wal_backup_enabled && (has_compute || state.has_wal_to_archive());
        let elected = required && state.offloader == Some(config.id);
        match elected {
            true if !self.backup.is_running() => {
                if let Some(resident) = self.guard() {
                    self.backup.start(resident);
                }
            }
            true => {}
            false if self.backup.is_running() => {
                tracing::info!("stepping down from backup, required={required}");
                self.backup.stop().await;
            }
            false => {}
        }
        self.timeline.archiving.store(self.backup.is_running(), Ordering::Relaxed);
        required
    }

    pub(super) fn update_activity(&mut self, state: &Snapshot, backup_required: bool) {
        let has_compute = self.timeline.receivers().count() > 0;
        let active = backup_required || has_compute || state.has_wal_to_hand_over();
        self.timeline.active.store(active, Ordering::Relaxed);
        if self.membership.set(active) {
            metrics::MANAGER_ACTIVE_CHANGES.inc();
            tracing::info!(
                "timeline active={active} now, remote_consistent_lsn={}, commit_lsn={}",
                state.memory.remote_consistent_lsn,
                state.memory.commit_lsn
            );
        }
    }

    /// Saves what runs ahead of the control file once it is old enough; otherwise plans to.
    pub(super) async fn save_control_file(&mut self, state: &Snapshot) {
        let Some(due) = state.save_due else { return };
        let now = Instant::now();
        if now < due {
            return self.wake_up_at(due);
        }
        match self.timeline.flush_control_file().await {
            // What depends on the saved values is looked at with the next change, which this is.
            Ok(()) => {}
            Err(error) => {
                tracing::warn!("cannot save the control file: {error}");
                self.wake_up_at(now + RETRY_PAUSE);
            }
        }
    }

    pub(super) fn update_removal(&mut self, state: &Snapshot) {
        let last = state.removable.filter(|last| *last > self.timeline.last_removed_segno());
        let (None, Some(last)) = (&self.removal, last) else { return };
        if self.timeline.is_removal_on_hold() {
            return;
        }
        let timeline = self.timeline.clone();
        let work = async move { timeline.remove_wal(last).map(|()| last) };
        let runtime = &self.timeline.node.roles.background;
        self.removal = Some(Task::spawn(runtime, "WAL removal", work));
    }

    pub(super) fn removal_ended(&mut self, removed: Option<Result<u64, TimelineError>>) {
        match removed {
            Some(Ok(last)) => self.timeline.last_removed_segno.store(last, Ordering::Relaxed),
            Some(Err(error)) => tracing::warn!("{error}"),
            None => {}
        }
    }

    pub(super) fn update_partial_backup(&mut self, state: &Snapshot) {
        let uploaded = self.uploaded.as_ref().is_some_and(|it| state.is_uploaded_as(it));
        let wanted = self.timeline.config().wal_backup_enabled && state.has_wal() && !uploaded;
        if !wanted || self.partial_backup.is_some() {
            return;
        }
        let Some(archive) = self.timeline.archive().cloned() else { return };
        if let Some(resident) = self.guard() {
            let work = PartialBackup::new(resident, archive).run();
            let runtime = &self.timeline.node.roles.wal_backup;
            self.partial_backup = Some(Task::spawn(runtime, "Partial backup", work));
        }
    }

    pub(super) fn partial_backup_ended(&mut self, uploaded: Option<Option<PartialRemoteSegment>>) {
        if let Some(Some(uploaded)) = uploaded {
            self.uploaded = Some(uploaded);
        }
    }

    pub(super) fn update_recovery(&mut self, state: &Snapshot) {
        let Some(standing) = &state.standing else { return };
        let streaming = self.timeline.receivers().has_streaming_compute();
        let Some(donor) = standing.donor(streaming) else { return };
        if self.recovery.is_running() {
            return;
        }
        match self.recovery.may_start_at() {
            Some(time) if time > Instant::now() => self.wake_up_at(time),
            Some(_) | None => {
                let donor = donor.clone();
                if let Some(resident) = self.guard() {
                    self.recovery.start(resident, donor);
                }
            }
        }
    }
}
