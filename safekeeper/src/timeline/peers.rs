//! What the other safekeepers of a timeline told through the broker, and when.
//!
//! Own messages come back from the broker and are kept like everybody else's: that they arrive
//! proves the connection to the broker works.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use safekeeper_api::models::{PeerInfo, SafekeeperTimelineInfo};
use utils::NodeId;

/// The latest word of every safekeeper.
#[derive(Debug, Default)]
pub struct PeersTable {
    peers: BTreeMap<NodeId, (PeerInfo, Instant)>,
}

impl PeersTable {
    /// Replaces what is known of `id`.
    pub fn record(&mut self, id: NodeId, info: &SafekeeperTimelineInfo, now: Instant) {
        let peer = PeerInfo {
            sk_id: id,
            term: info.term.unwrap_or_default(),
            last_log_term: info.last_log_term.unwrap_or_default(),
            flush_lsn: info.flush_lsn,
            commit_lsn: info.commit_lsn,
            local_start_lsn: info.local_start_lsn,
            pg_connstr: info.safekeeper_connstr.clone().unwrap_or_default(),
            http_connstr: info.http_connstr.clone().unwrap_or_default(),
        };
        self.peers.insert(id, (peer, now));
    }

    /// Peers heard of within `timeout` before `now`.
    pub fn alive(&self, now: Instant, timeout: Duration) -> Vec<PeerInfo> {
        self.peers
            .values()
            .filter(|(_, heard)| now.saturating_duration_since(*heard) <= timeout)
            .map(|(peer, _)| peer.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
