//! Who can give us WAL.

use std::time::{Duration, Instant};

use safekeeper_api::models::PeerInfo;
use utils::NodeId;
use wal_quorum::Term;

use crate::timeline::{FlushPosition, SharedState};

/// Where we stand, and where the others do.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Our term.
    pub term: Term,
    /// Our log.
    pub flushed: FlushPosition,
    /// Peers heard of lately, without ourselves.
    pub peers: Vec<PeerInfo>,
}

impl Standing {
    /// Where `own_id` stands, with the peers heard of within `heartbeat_timeout`. An older word
    /// of our own, which the broker sends back, is no peer.
    pub fn of(state: &SharedState, heartbeat_timeout: Duration, own_id: NodeId) -> Self {
        let mut peers = state.peers.alive(Instant::now(), heartbeat_timeout);
        peers.retain(|peer| peer.sk_id != own_id);
        Self { term: state.term(), flushed: state.flush_position(), peers }
    }

    /// The best donor, unless a compute streams: then it brings everything.
    pub fn donor(&self, compute_streams: bool) -> Option<&PeerInfo> {
        let donors = self.peers.iter().filter(|peer| !compute_streams && self.can_give(peer));
        donors.max_by_key(|peer| (peer.last_log_term, peer.flush_lsn))
    }

    /// Whether this peer is still worth fetching from, even if not the best.
    pub fn is_donor(&self, id: NodeId, compute_streams: bool) -> bool {
        let peer = self.peers.iter().find(|peer| peer.sk_id == id);
        !compute_streams && peer.is_some_and(|peer| self.can_give(peer))
    }

    /// It has more than we do, and a leader of its very term surely existed: its log ends in
    /// that term. A vote alone would not prove that.
    fn can_give(&self, peer: &PeerInfo) -> bool {
        let ours = (self.flushed.last_log_term, self.flushed.flush_lsn);
        (peer.last_log_term, peer.flush_lsn) > ours
            && peer.term == peer.last_log_term
            && peer.term >= self.term
    }
}

#[cfg(test)]
mod tests;
