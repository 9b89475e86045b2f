//! What the storage reports through the safekeepers, put together.

use std::collections::BTreeMap;

use pq_proto::PageserverFeedback;
use utils::Lsn;

/// Reports from shards with higher numbers are not believed: no tenant has that many.
const MAX_SHARDS: u32 = 128;

/// The slowest shard's positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageserverProgress {
    /// Received.
    pub last_received_lsn: Lsn,
    /// On disk.
    pub disk_consistent_lsn: Lsn,
    /// In remote storage.
    pub remote_consistent_lsn: Lsn,
}

/// The newest report of every shard.
#[derive(Debug, Default)]
pub struct ShardReports {
    shards: BTreeMap<u32, PageserverFeedback>,
}

impl ShardReports {
    /// Takes a report in. Reports of one shard may come through several safekeepers, so an
    /// older one never takes a position back.
    pub fn record(&mut self, report: &PageserverFeedback) {
        if report.shard_number >= MAX_SHARDS {
            tracing::warn!("ignoring feedback of impossible shard {}", report.shard_number);
            return;
        }
        let known = self.shards.entry(report.shard_number).or_default();
        known.last_received_lsn = known.last_received_lsn.max(report.last_received_lsn);
        known.disk_consistent_lsn = known.disk_consistent_lsn.max(report.disk_consistent_lsn);
        known.remote_consistent_lsn = known.remote_consistent_lsn.max(report.remote_consistent_lsn);
    }

    /// The minimum over all shards that reported.
    pub fn slowest(&self) -> PageserverProgress {
        let minimum = |position: fn(&PageserverFeedback) -> Lsn| {
            self.shards.values().map(position).min().unwrap_or_default()
        };
        PageserverProgress {
            last_received_lsn: minimum(|report| report.last_received_lsn),
            disk_consistent_lsn: minimum(|report| report.disk_consistent_lsn),
            remote_consistent_lsn: minimum(|report| report.remote_consistent_lsn),
        }
    }
}

#[cfg(test)]
mod tests;
