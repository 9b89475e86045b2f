//! Slowing commits down while the storage lags behind the WAL.
//!
//! Backends of a stock server cannot be throttled from inside. What can be done is to delay
//! acknowledgements, and with them commits: a little when a limit is just exceeded, more as the
//! lag grows, but never so much that nothing happens any more.

use std::time::Duration;

use utils::Lsn;

use crate::config::LagLimits;
use wal_quorum::proposer::PageserverProgress;

/// The delay never exceeds this: slow is visible, a standstill looks like a failure.
pub const MAX_DELAY: Duration = Duration::from_secs(2);
/// Delay when the lag is twice its limit.
const DELAY_AT_DOUBLE_LIMIT: Duration = Duration::from_millis(500);

/// How long an acknowledgement should be held back, given the end of WAL and what the
/// pageserver says. A position of zero is one that is not known yet, and does not count.
pub fn acknowledgement_delay(
    limits: LagLimits,
    wal_end: Lsn,
    progress: &PageserverProgress,
) -> Duration {
    let pairs = [
        (limits.write_bytes, progress.last_received_lsn),
        (limits.flush_bytes, progress.disk_consistent_lsn),
        (limits.apply_bytes, progress.remote_consistent_lsn),
    ];
    let delays = pairs.into_iter().filter(|(limit, lsn)| *limit > 0 && lsn.is_valid());
    delays
        .map(|(limit, lsn)| delay_of_one(limit, wal_end.saturating_sub(lsn)))
        .max()
        .unwrap_or_default()
}

fn delay_of_one(limit_bytes: u64, lag_bytes: u64) -> Duration {
    let excess = lag_bytes.saturating_sub(limit_bytes) as f64 / limit_bytes as f64;
    DELAY_AT_DOUBLE_LIMIT.mul_f64(excess.min(100.0)).min(MAX_DELAY)
}

#[cfg(test)]
mod tests;
