//! Removing WAL that nobody needs any more.
//!
//! Everybody who may still need a segment bounds the horizon: pageservers by what they have in
//! object storage, a restart of this one by its commit position, and the archive by what it has;
//! without an archive the other safekeepers by what all of them have (docs/decisions). Persisted
//! values are used, so that what is removed is no surprise after a restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use utils::Lsn;

use super::{SharedState, Timeline, TimelineError};
use crate::blocking;
use crate::metrics;

/// The lowest position somebody still needs.
pub fn horizon(state: &SharedState, wal_is_archived: bool, laggard: Option<Lsn>) -> Lsn {
    let persistent = state.control().persistent();
    let bounds = [
        Some(persistent.remote_consistent_lsn),
        // A safekeeper that lags behind can be refilled from the archive, if there is one.
        (!wal_is_archived).then_some(persistent.peer_horizon_lsn),
        Some(persistent.commit_lsn),
        Some(state.flush_lsn()),
        wal_is_archived.then_some(persistent.backup_lsn),
        laggard,
    ];
    bounds.into_iter().flatten().min().unwrap_or(Lsn::INVALID)
}

/// While it lives, no WAL of the timeline is removed.
#[derive(Debug)]
pub struct RemovalHold {
    timeline: Arc<Timeline>,
}

impl Drop for RemovalHold {
    fn drop(&mut self) {
        self.timeline.removal_on_hold.store(false, Ordering::Release);
        // The manager may have put something off.
        self.timeline.version.send_modify(|version| *version += 1);
    }
}

impl Timeline {
    /// Stops removal for a while; `None` if somebody else has stopped it. What is being removed
    /// already lies below every horizon that is computed from now on.
    pub fn hold_removal(self: &Arc<Self>) -> Option<RemovalHold> {
        let was_held = self.removal_on_hold.swap(true, Ordering::AcqRel);
        (!was_held).then(|| RemovalHold { timeline: self.clone() })
    }

    /// Whether removal is stopped.
    pub fn is_removal_on_hold(&self) -> bool {
        self.removal_on_hold.load(Ordering::Acquire)
    }

    /// Removes every segment up to and including `last`. Needs no lock: nobody writes there.
    pub fn remove_wal(&self, last: u64) -> Result<(), TimelineError> {
        let timer = metrics::wal_storage_timer("remove_segments_from_disk");
        let removed = blocking::run(|| self.segments().remove_up_to(last))
            .map_err(|source| TimelineError::Remove { ttid: self.ttid, source })?;
        timer.observe_duration();
        if removed > 0 {
            tracing::info!("removed {removed} WAL segments up to {last:#X}");
        }
        metrics::REMOVED_WAL_SEGMENTS.inc_by(removed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
