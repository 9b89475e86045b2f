//! What tells two states of a proposer apart, for exploring them all.
//!
//! Left out is what no decision depends on while no connection times out: the configuration,
//! the numbers of connections, when a safekeeper was last heard, greetings once there is a term,
//! votes once there is a leader, and, but for a synchronisation, the commit positions that
//! safekeepers speak of.

use std::hash::{Hash, Hasher};

use super::{Mode, Proposer};
use crate::term_history::INVALID_TERM;

impl Proposer {
    /// What it knows about one safekeeper.
    pub(crate) fn hash_peer(&self, index: usize, hasher: &mut impl Hasher) {
        let peer = &self.peers[index];
        peer.phase.hash(hasher);
        if self.term == INVALID_TERM {
            peer.greeted_term.hash(hasher);
        }
        if let (None, Some(vote)) = (&self.leadership, &peer.vote) {
            let positions = [vote.flush_lsn, vote.truncate_lsn, vote.timeline_start_lsn];
            (vote.term, positions, &vote.term_history).hash(hasher);
        }
        let response = &peer.last_response;
        response.flush_lsn.hash(hasher);
        if self.config.mode == Mode::Sync {
            response.commit_lsn.hash(hasher);
        }
    }

    /// Everything else.
    pub(crate) fn hash_rest(&self, hasher: &mut impl Hasher) {
        assert!(self.actions.is_empty(), "between events nothing is left to do");
        (self.term, self.finished, self.now_ms).hash(hasher);
        (self.local_window_start, self.commit_announcement_due_ms).hash(hasher);
        if let Some(won) = &self.leadership {
            let positions =
                [won.epoch_start_lsn, won.available_lsn, won.commit_lsn, won.truncate_lsn];
            (positions, won.timeline_start_lsn, &won.history).hash(hasher);
        }
    }
}
