//! Removing WAL that nobody needs any more.
//!
//! Everybody who may still need a segment bounds the horizon: pageservers by what they have in
//! object storage, a restart of this one by its commit position, and the archive by what it has;
//! without an archive the other safekeepers by what all of them have (docs/decisions). Persisted
//! values are used, so that what is removed is no surprise after a restart.

use utils::Lsn;

use super::{SharedState, Timeline, TimelineError};
use crate::blocking;
use crate::metrics;
use crate::wal_storage::segno;

/// The lowest position somebody still needs.
pub fn horizon(state: &SharedState, wal_is_archived: bool, laggard: Option<Lsn>) -> Lsn {
    let persistent = state.acceptor.state().persistent();
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

impl Timeline {
    /// The highest segment that may be removed, if that is news.
    pub async fn removable_segno(&self) -> Option<u64> {
        let keep_for_pageservers = self.config.walsenders_keep_horizon;
        let laggard = keep_for_pageservers.then(|| self.senders.laggard_lsn()).flatten();
        let horizon = horizon(&*self.read().await, self.config.remote_storage.is_some(), laggard);
        segno(horizon).checked_sub(1).filter(|last| *last > self.last_removed_segno())
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
        self.last_removed_segno.store(last, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
