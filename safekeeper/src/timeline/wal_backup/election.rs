//! Which safekeeper archives a timeline's WAL.
//!
//! Everybody computes the same from what the broker tells. If views differ for a moment, two
//! archive at once, or nobody, and neither does harm.

use safekeeper_api::models::PeerInfo;
use utils::{Lsn, NodeId, TimelineId};

/// The one to archive among `peers`, the alive ones with ourselves; `None` if nobody can.
///
/// Candidates have all WAL from `backup_lsn` on and lag at most `max_lag_bytes` behind the best;
/// the timeline's id spreads timelines over them.
pub fn elect(
    peers: &[PeerInfo],
    backup_lsn: Lsn,
    max_lag_bytes: u64,
    timeline_id: TimelineId,
) -> Option<NodeId> {
    let candidates = || peers.iter().filter(|peer| peer.local_start_lsn <= backup_lsn);
    let best = candidates().map(|peer| peer.commit_lsn).max()?;
    let threshold = Lsn(best.0.saturating_sub(max_lag_bytes));
    let mut caught_up: Vec<NodeId> =
        candidates().filter(|peer| peer.commit_lsn >= threshold).map(|peer| peer.sk_id).collect();
    caught_up.sort_unstable();
    let count = caught_up.len() as u128;
    let index = u128::from_le_bytes(*timeline_id.as_bytes()).checked_rem(count)?;
    caught_up.get(usize::try_from(index).ok()?).copied()
}

#[cfg(test)]
mod tests;
