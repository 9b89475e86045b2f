//! The manager: the one task that decides what happens to a timeline in the background.
//!
//! It lives as long as the timeline and owns every task that works on it: archiving, removal and
//! partial backup of WAL, recovery from peers. It wakes when the state changed (at most a few
//! times a second), a task ended, a deadline passed or somebody asked for something, and brings
//! everything in line with what it finds. It must never wait for something that waits for it.

mod requests;
mod snapshot;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tracing::Instrument;
use utils::Lsn;
use utils::gate::GateGuard;
use wal_quorum::control_file::{PartialRemoteSegment, UploadStatus};

use super::recovery::Recovery;
use super::residence::{Guards, WalResidentTimeline};
use super::wal_backup::WalBackup;
use super::{Timeline, TimelineError, eviction};
use crate::metrics;
use crate::timelines_set::SetMember;
use crate::wal_storage::segno;
pub use requests::{ManagerHandle, ManagerStatus};
pub(super) use requests::{Request, channel};
use snapshot::Snapshot;
pub(super) use tasks::Task;
pub(super) use tasks::ended;

/// Changes that come in faster than this are looked at together.
const MIN_PAUSE: Duration = Duration::from_millis(300);
/// Pause before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Starts the manager of a timeline. It ends with the timeline, whose deletion waits for it.
pub(super) fn spawn(timeline: &Arc<Timeline>, inbox: UnboundedReceiver<Request>) {
    // The connection that happened to create the timeline is no parent of its manager.
    let span = tracing::info_span!(parent: None, "manager", ttid = %timeline.ttid());
    let Ok(inside) = timeline.gate.enter() else { return };
    let runtime = timeline.node.roles.background.clone();
    let manager = Manager {
        version: timeline.watch_version(),
        num_computes: timeline.receivers().subscribe_count(),
        inbox,
        guards: Guards::new(timeline),
        membership: timeline.node.active.member(timeline.clone()),
        backup: WalBackup::default(),
        removal: None,
        partial_backup: None,
        recovery: Recovery::default(),
        uploaded: None,
        wake_up: None,
        timeline: timeline.clone(),
        _inside: inside,
    };
    runtime.spawn(manager.run().instrument(span));
}

struct Manager {
    timeline: Arc<Timeline>,
    inbox: UnboundedReceiver<Request>,
    version: watch::Receiver<u64>,
    num_computes: watch::Receiver<usize>,
    guards: Guards,
    membership: SetMember,
    backup: WalBackup,
    /// Removes segments; gives the last one removed.
    removal: Option<Task<Result<u64, TimelineError>>>,
    partial_backup: Option<Task<Option<PartialRemoteSegment>>>,
    recovery: Recovery,
    /// The partial segment known to be in the archive.
    uploaded: Option<PartialRemoteSegment>,
    /// When to look again even if nothing happens.
    wake_up: Option<Instant>,
    _inside: GateGuard,
}

impl Manager {
    async fn run(mut self) {
        let cancel = self.timeline.cancellation().clone();
        self.set_status(ManagerStatus::Started);
        self.uploaded = self.known_upload().await;
        while !cancel.is_cancelled() {
            metrics::MANAGER_ITERATIONS.inc();
            self.iterate().await;
            self.set_status(ManagerStatus::Wait);
            self.wait().await;
        }
        self.set_status(ManagerStatus::Exiting);
        self.stop_tasks().await;
        self.set_status(ManagerStatus::Finished);
    }

    /// Brings everything in line with the state.
    async fn iterate(&mut self) {
        self.set_status(ManagerStatus::StateSnapshot);
        self.version.borrow_and_update();
        let state = Snapshot::take(&self.timeline).await;
        self.wake_up = None;
        if state.offloaded {
            return;
        }
        self.set_status(ManagerStatus::UpdateBackup);
        let backup_required = self.update_backup(&state).await;
        self.update_activity(&state, backup_required);
        self.set_status(ManagerStatus::UpdateControlFile);
        self.save_control_file(&state).await;
        self.set_status(ManagerStatus::UpdateWalRemoval);
        self.update_removal(&state);
        self.set_status(ManagerStatus::UpdatePartialBackup);
        self.update_partial_backup(&state);
        self.update_recovery(&state);
        if self.timeline.config().enable_offload && self.ready_to_evict(&state) {
            self.set_status(ManagerStatus::EvictTimeline);
            self.evict().await;
        }
    }

    /// Returns when there is a reason to look again. Whatever is awaited here is cancel safe:
    /// watches, sleeps, channels, handles of tasks and a token.
    async fn wait(&mut self) {
        let cancel = self.timeline.cancellation().clone();
        let version = &mut self.version;
        // The senders of the watches live in the timeline this holds, so they cannot close.
        let changed = async {
            tokio::time::sleep(MIN_PAUSE).await;
            let _ = version.changed().await;
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = changed => {}
            _ = self.num_computes.changed() => {}
            () = sleep_until(self.wake_up) => {}
            removed = ended(&mut self.removal) => self.removal_ended(removed),
            uploaded = ended(&mut self.partial_backup) => self.partial_backup_ended(uploaded),
            () = self.recovery.ended() => {}
            Some(request) = self.inbox.recv() => self.handle(request).await,
        }
    }

    async fn handle(&mut self, request: Request) {
        self.set_status(ManagerStatus::HandleRequest);
        match request {
            Request::ReleaseGuard(id) => self.guards.release(id),
            Request::Guard(reply) => {
                let answer = match self.make_present().await {
                    Ok(()) => self.guards.issue().map(Ok),
                    Err(error) => Some(Err(error)),
                };
                // If the asker has given up, the guard in the answer is released again.
                if let Some(answer) = answer {
                    let _ = reply.send(answer);
                }
            }
        }
    }

    /// Brings the WAL back if it was offloaded.
    async fn make_present(&mut self) -> Result<(), TimelineError> {
        if !self.timeline.read().await.is_offloaded() {
            return Ok(());
        }
        let ttid = self.timeline.ttid();
        let restored = match &self.uploaded {
            Some(uploaded) => eviction::restore(&self.timeline, uploaded).await,
            None => Err(TimelineError::NothingUploaded(ttid)),
        };
        restored.map_err(|error| TimelineError::Residence { ttid, reason: error.to_string() })
    }

    async fn evict(&mut self) {
        let Some(uploaded) = &self.uploaded else { return };
        if let Err(error) = eviction::evict(&self.timeline, uploaded).await {
            tracing::warn!("failed to evict timeline: {error}");
            self.wake_up_at(Instant::now() + RETRY_PAUSE);
        }
    }

    /// Nothing works on the timeline, nobody needs it, and all its WAL is in the archive.
    fn ready_to_evict(&self, state: &Snapshot) -> bool {
        let idle = !self.backup.is_running()
            && self.removal.is_none()
            && self.partial_backup.is_none()
            && !self.recovery.is_running()
            && self.wake_up.is_none()
            && self.guards.none_held()
            && !self.membership.is_present()
            && !self.timeline.is_removal_on_hold();
        let only_segment = |lsn: Lsn| segno(lsn) == self.timeline.last_removed_segno() + 1;
        let uploaded = self.uploaded.as_ref();
        idle && uploaded.is_some_and(|it| state.is_uploaded_as(it) && only_segment(it.flush_lsn))
    }

    /// What the control file says about the archive.
    async fn known_upload(&self) -> Option<PartialRemoteSegment> {
        let state = self.timeline.read().await;
        let segments = &state.control().partial_backup.segments;
        segments.iter().find(|segment| segment.status == UploadStatus::Uploaded).cloned()
    }

    fn guard(&mut self) -> Option<WalResidentTimeline> {
        let guard = self.guards.issue()?;
        Some(WalResidentTimeline::new(self.timeline.clone(), guard))
    }

    fn wake_up_at(&mut self, time: Instant) {
        self.wake_up = Some(self.wake_up.map_or(time, |planned| planned.min(time)));
    }

    fn set_status(&self, status: ManagerStatus) {
        self.timeline.manager.set_status(status);
    }

    async fn stop_tasks(&mut self) {
        self.membership.set(false);
        self.timeline.active.store(false, Ordering::Relaxed);
        self.backup.stop().await;
        self.timeline.archiving.store(false, Ordering::Relaxed);
        self.recovery.stop().await;
        if let Some(task) = self.partial_backup.take() {
            task.join().await;
        }
        if let Some(task) = self.removal.take() {
            task.join().await;
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
