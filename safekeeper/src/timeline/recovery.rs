//! Recovery from a peer: fetching WAL that another safekeeper has when no compute brings it.
//!
//! It imitates the last elected leader, whose history the donor holds, so nothing is decided
//! that an election had not decided before. Which tail survives when nobody qualifies as a donor
//! depends on the quorum; then only a compute's election helps. Races with a compute that comes
//! back are expected: they end the attempt.

mod donor;
mod fetch;

use std::time::{Duration, Instant};

use safekeeper_api::models::PeerInfo;

pub use donor::Standing;

use super::WalResidentTimeline;
use super::manager::{Task, ended};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// The manager's side of recovery.
#[derive(Debug, Default)]
pub struct Recovery {
    task: Option<Task<()>>,
    not_before: Option<Instant>,
}

impl Recovery {
    /// Whether WAL is being fetched.
    pub fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Before this time no new attempt should be made.
    pub fn may_start_at(&self) -> Option<Instant> {
        self.not_before
    }

    /// Begins to fetch from `donor`.
    pub fn start(&mut self, timeline: WalResidentTimeline, donor: PeerInfo) {
        let runtime = timeline.node().roles.background.clone();
        self.task = Some(Task::spawn(&runtime, "recovery task", run(timeline, donor)));
    }

    /// Returns when an attempt has ended. Cancel safe.
    pub async fn ended(&mut self) {
        ended(&mut self.task).await;
        self.not_before = Some(Instant::now() + PAUSE);
    }

    /// Waits for the end of a running attempt; the timeline's cancellation brings it about.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.join().await;
        }
    }
}

async fn run(timeline: WalResidentTimeline, donor: PeerInfo) {
    tracing::info!("starting recovery from safekeeper {} at {}", donor.sk_id, donor.pg_connstr);
    match fetch::recover(timeline, &donor).await {
        Ok(reason) => tracing::info!("recovery from safekeeper {} ended: {reason}", donor.sk_id),
        Err(error) => {
            tracing::warn!("recovery from safekeeper {} failed: {error}", donor.sk_id);
        }
    }
}
