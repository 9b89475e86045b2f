//! Guards that keep a timeline's WAL on the local disk.
//!
//! Whoever touches WAL files holds one. The manager hands them out, after it brought the WAL back
//! if it had been offloaded, and does not offload while any is held. Never ask for a guard while
//! holding the state's lock: the manager may need that lock first.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use utils::gate::{Gate, GateGuard};

use super::manager::Request;
use super::{Timeline, TimelineError};
use crate::metrics;

/// How long bringing the WAL back may take before whoever waits for it gives up.
const RESIDENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// A timeline together with the proof that its WAL is on the local disk and stays there.
/// Deletion waits for these.
#[derive(Debug)]
pub struct WalResidentTimeline {
    timeline: Arc<Timeline>,
    _guard: ResidenceGuard,
}

impl WalResidentTimeline {
    pub(super) fn new(timeline: Arc<Timeline>, guard: ResidenceGuard) -> Self {
        Self { timeline, _guard: guard }
    }
}

impl Deref for WalResidentTimeline {
    type Target = Arc<Timeline>;

    fn deref(&self) -> &Arc<Timeline> {
        &self.timeline
    }
}

/// One holder's claim; the manager hears of its end.
#[derive(Debug)]
pub struct ResidenceGuard {
    id: u64,
    manager: UnboundedSender<Request>,
    _inside: GateGuard,
}

impl Drop for ResidenceGuard {
    fn drop(&mut self) {
        // Without a manager the timeline is going away, and nobody counts guards any more.
        let _ = self.manager.send(Request::ReleaseGuard(self.id));
    }
}

/// The manager's list of guards that are out.
#[derive(Debug)]
pub(super) struct Guards {
    held: HashSet<u64>,
    next_id: u64,
    manager: UnboundedSender<Request>,
    gate: Gate,
}

impl Guards {
    pub(super) fn new(timeline: &Timeline) -> Self {
        let manager = timeline.manager.sender();
        Self { held: HashSet::new(), next_id: 0, manager, gate: timeline.gate.clone() }
    }

    /// A new guard; `None` when the timeline is going away.
    pub(super) fn issue(&mut self) -> Option<ResidenceGuard> {
        let inside = self.gate.enter().ok()?;
        let id = self.next_id;
        self.next_id += 1;
        self.held.insert(id);
        Some(ResidenceGuard { id, manager: self.manager.clone(), _inside: inside })
    }

    pub(super) fn release(&mut self, id: u64) {
        self.held.remove(&id);
    }

    pub(super) fn none_held(&self) -> bool {
        self.held.is_empty()
    }
}

impl Timeline {
    /// Makes sure that the WAL is and stays on the local disk.
    pub async fn resident(self: &Arc<Self>) -> Result<WalResidentTimeline, TimelineError> {
        self.check_usable()?;
        let _timer = metrics::misc_timer("wal_residence_guard");
        let request = self.manager.request_guard();
        let answer = match tokio::time::timeout(RESIDENCE_TIMEOUT, request).await {
            Ok(answer) => answer,
            Err(_elapsed) => Some(Err(TimelineError::ResidenceTimeout(self.ttid))),
        };
        match answer {
            Some(Ok(guard)) => Ok(WalResidentTimeline::new(self.clone(), guard)),
            Some(Err(error)) => {
                tracing::warn!("{error}");
                Err(error)
            }
            None => Err(TimelineError::Cancelled(self.ttid)),
        }
    }
}
