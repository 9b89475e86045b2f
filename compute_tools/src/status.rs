//! What the endpoint is doing, for `/status` and `/metrics`: one board that every part of the
//! program writes to and the HTTP service reads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;
use utils::{Lsn, TenantTimelineId};

/// Where an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputeStatus {
    /// No spec yet.
    Empty,
    /// A spec arrived and waits to be taken up.
    ConfigurationPending,
    /// Preparing.
    Init,
    /// Agreeing with the safekeepers on the end of WAL.
    Syncing,
    /// Receiving the data directory.
    Basebackup,
    /// PostgreSQL is starting.
    Starting,
    /// Open for clients.
    Running,
    /// Taking up a changed spec.
    Configuration,
    /// It did not work out; the error says why.
    Failed,
    /// Stopping.
    TerminationPending,
    /// Stopped.
    Terminated,
}

/// How long one phase of the start took.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// The phase.
    pub name: ComputeStatus,
    /// Its duration so far, in milliseconds.
    pub duration_ms: u64,
}

/// Positions of the running endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// X: what the data directory was built at.
    pub start_lsn: Lsn,
    /// The proposer's term; 0 when there is none.
    pub term: u64,
    /// End of the WAL received from PostgreSQL.
    pub wal_end_lsn: Lsn,
    /// What a quorum of safekeepers has.
    pub commit_lsn: Lsn,
    /// What the slowest pageserver shard has received.
    pub pageserver_received_lsn: Lsn,
    /// What the slowest pageserver shard has on disk.
    pub pageserver_disk_consistent_lsn: Lsn,
    /// What the slowest pageserver shard has in remote storage.
    pub pageserver_remote_consistent_lsn: Lsn,
    /// How long acknowledgements are being delayed, in milliseconds.
    pub backpressure_delay_ms: u64,
    /// Safekeepers that are receiving WAL.
    pub active_safekeepers: usize,
    /// All safekeepers.
    pub safekeepers: usize,
}

/// The body of `GET /status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// When compute_ctl started.
    pub start_time: DateTime<Utc>,
    /// Tenant id, absent without a spec.
    pub tenant: Option<String>,
    /// Timeline id, absent without a spec.
    pub timeline: Option<String>,
    /// State.
    pub status: ComputeStatus,
    /// When a client was last active; not tracked here.
    pub last_active: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<String>,
    /// Finished phases and the current one, in order.
    pub phases: Vec<PhaseReport>,
    /// Bytes of the base backup received so far.
    pub basebackup_bytes: u64,
    /// Bytes of WAL sent to each safekeeper, summed.
    pub wal_sent_bytes: u64,
    /// How far the quorum is behind PostgreSQL, in bytes.
    pub commit_lag_bytes: u64,
    /// Positions.
    #[serde(flatten)]
    pub positions: Positions,
}

#[derive(Debug)]
struct Inner {
    ttid: Option<TenantTimelineId>,
    error: Option<String>,
    phases: Vec<(ComputeStatus, Instant)>,
    ended: Option<Instant>,
    basebackup_bytes: u64,
    wal_sent_bytes: u64,
    positions: Positions,
}

/// The board. Its lock is held for a few assignments at a time, never across an await.
#[derive(Debug)]
pub struct StatusBoard {
    start_time: DateTime<Utc>,
    status: watch::Sender<ComputeStatus>,
    inner: Mutex<Inner>,
}

impl Default for StatusBoard {
    fn default() -> Self {
        let phases = vec![(ComputeStatus::Empty, Instant::now())];
        Self {
            start_time: Utc::now(),
            status: watch::Sender::new(ComputeStatus::Empty),
            inner: Mutex::new(Inner {
                ttid: None,
                error: None,
                phases,
                ended: None,
                basebackup_bytes: 0,
                wal_sent_bytes: 0,
                positions: Positions::default(),
            }),
        }
    }
}

impl StatusBoard {
    /// Enters a state. A failure or the end is final: nothing but the end may follow.
    pub fn enter(&self, status: ComputeStatus) {
        let current = *self.status.borrow();
        let is_end = status == ComputeStatus::Terminated;
        if current == status || current == ComputeStatus::Terminated {
            return;
        }
        if current == ComputeStatus::Failed && !is_end {
            return;
        }
        let mut inner = self.lock();
        if status == ComputeStatus::Running && inner.ended.is_none() {
            inner.ended = Some(Instant::now());
        }
        if inner.ended.is_none() {
            inner.phases.push((status, Instant::now()));
        }
        drop(inner);
        tracing::info!("status is now {status:?}");
        self.status.send_replace(status);
    }

    /// Enters [`ComputeStatus::Failed`] with its reason.
    pub fn fail(&self, error: &anyhow::Error) {
        self.lock().error.get_or_insert_with(|| format!("{error:#}"));
        self.enter(ComputeStatus::Failed);
    }

    /// The state.
    pub fn status(&self) -> ComputeStatus {
        *self.status.borrow()
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<ComputeStatus> {
        self.status.subscribe()
    }

    /// Says which timeline this is about.
    pub fn set_timeline(&self, ttid: TenantTimelineId) {
        self.lock().ttid = Some(ttid);
    }

    /// Counts bytes of the base backup; returns the total.
    pub fn add_basebackup_bytes(&self, bytes: u64) -> u64 {
        let mut inner = self.lock();
        inner.basebackup_bytes += bytes;
        inner.basebackup_bytes
    }

    /// Counts bytes of WAL sent to a safekeeper.
    pub fn add_wal_sent_bytes(&self, bytes: u64) {
        self.lock().wal_sent_bytes += bytes;
    }

    /// Changes positions.
    pub fn update_positions(&self, change: impl FnOnce(&mut Positions)) {
        change(&mut self.lock().positions);
    }

    /// The positions.
    pub fn positions(&self) -> Positions {
        self.lock().positions
    }

    /// Everything, for the HTTP service.
    pub fn report(&self) -> StatusReport {
        let inner = self.lock();
        let positions = inner.positions;
        StatusReport {
            start_time: self.start_time,
            tenant: inner.ttid.map(|ttid| ttid.tenant_id.to_string()),
            timeline: inner.ttid.map(|ttid| ttid.timeline_id.to_string()),
            status: self.status(),
            last_active: None,
            error: inner.error.clone(),
            phases: phase_reports(&inner),
            basebackup_bytes: inner.basebackup_bytes,
            wal_sent_bytes: inner.wal_sent_bytes,
            commit_lag_bytes: positions.wal_end_lsn.saturating_sub(positions.commit_lsn),
            positions,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Plain assignments cannot leave the board half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn phase_reports(inner: &Inner) -> Vec<PhaseReport> {
    let now = inner.ended.unwrap_or_else(Instant::now);
    let ends = inner.phases.iter().skip(1).map(|(_, start)| *start).chain([now]);
    let phases = inner.phases.iter().zip(ends);
    phases
        .map(|((name, start), end)| {
            let duration = end.saturating_duration_since(*start);
            PhaseReport { name: *name, duration_ms: duration.as_millis() as u64 }
        })
        .collect()
}

#[cfg(test)]
mod tests;
