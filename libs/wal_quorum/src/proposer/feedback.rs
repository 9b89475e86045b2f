//! What comes back to the database beside commits: the pageservers' progress
//! and what hot standbys need.

use std::collections::BTreeMap;

use pq_proto::PageserverFeedback;
use utils::Lsn;

use super::{Action, Phase, Proposer};
use crate::messages::HotStandbyFeedback;

/// Shard numbers at or above this are not believed.
const MAX_SHARDS: u32 = 128;
/// The first transaction id that is a real one.
const FIRST_NORMAL_XID: u64 = 3;

/// How far all shards of the timeline are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageserverProgress {
    /// The minimum of what the shards have received.
    pub last_received_lsn: Lsn,
    /// The minimum of what they have on disk.
    pub disk_consistent_lsn: Lsn,
    /// The minimum of what they have in remote storage.
    pub remote_consistent_lsn: Lsn,
    /// Logical size of the timeline; 0 until the first shard told.
    pub timeline_size_bytes: u64,
}

/// The newest report of each shard, and what was told to the driver last.
#[derive(Clone, Debug, Default)]
pub(super) struct Feedback {
    shards: BTreeMap<u32, PageserverFeedback>,
    pub(super) progress: PageserverProgress,
    pub(super) standby: HotStandbyFeedback,
}

impl Feedback {
    fn take(&mut self, feedback: PageserverFeedback) -> PageserverProgress {
        if feedback.shard_number < MAX_SHARDS {
            self.shards.insert(feedback.shard_number, feedback);
        }
        let minimum = |position: fn(&PageserverFeedback) -> Lsn| {
            self.shards.values().map(position).min().unwrap_or(Lsn::INVALID)
        };
        let size = feedback.current_timeline_size_bytes;
        PageserverProgress {
            last_received_lsn: minimum(|shard| shard.last_received_lsn),
            disk_consistent_lsn: minimum(|shard| shard.disk_consistent_lsn),
            remote_consistent_lsn: minimum(|shard| shard.remote_consistent_lsn),
            timeline_size_bytes: if size > 0 { size } else { self.progress.timeline_size_bytes },
        }
    }
}

impl Proposer {
    pub(super) fn take_pageserver_feedback(&mut self, feedback: PageserverFeedback) {
        let progress = self.feedback.take(feedback);
        if progress != self.feedback.progress {
            self.feedback.progress = progress;
            self.act(Action::PageserverFeedback(progress));
        }
    }

    /// The oldest transaction any standby behind any active safekeeper needs.
    pub(super) fn aggregate_standby_feedback(&mut self) {
        let active = self.peers.iter().filter(|peer| matches!(peer.phase, Phase::Active(_)));
        let reports: Vec<_> = active.map(|peer| peer.last_response.hs_feedback).collect();
        let oldest = |xid: fn(&HotStandbyFeedback) -> u64| {
            reports.iter().map(xid).filter(|xid| *xid >= FIRST_NORMAL_XID).min().unwrap_or(0)
        };
        let xmin = oldest(|report| report.xmin);
        let catalog_xmin = oldest(|report| report.catalog_xmin);
        let contributes = |report: &&HotStandbyFeedback| {
            (xmin != 0 && report.xmin == xmin)
                || (catalog_xmin != 0 && report.catalog_xmin == catalog_xmin)
        };
        let ts = reports.iter().filter(contributes).map(|report| report.ts).max().unwrap_or(0);
        let known = self.feedback.standby;
        if (xmin, catalog_xmin) != (known.xmin, known.catalog_xmin) {
            let feedback = HotStandbyFeedback { ts, xmin, catalog_xmin };
            self.feedback.standby = feedback;
            self.act(Action::HotStandbyFeedback(feedback));
        }
    }
}
