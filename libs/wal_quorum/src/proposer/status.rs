//! A proposer's state for people: status pages and logs.

use serde::Serialize;
use utils::{Lsn, NodeId};

use super::{Phase, Proposer};
use crate::term_history::Term;

/// The whole proposer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProposerStatus {
    /// Our term; 0 until a quorum was greeted.
    pub term: Term,
    /// Whether the election is won.
    pub elected: bool,
    /// Where our term begins.
    pub epoch_start_lsn: Lsn,
    /// End of the WAL that exists.
    pub available_lsn: Lsn,
    /// Durable on a quorum.
    pub commit_lsn: Lsn,
    /// Flushed everywhere.
    pub truncate_lsn: Lsn,
    /// In the order of the configuration.
    pub safekeepers: Vec<SafekeeperStatus>,
}

/// One safekeeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SafekeeperStatus {
    /// Its node id, once greeted.
    pub node_id: Option<NodeId>,
    /// Phase of the conversation.
    pub phase: &'static str,
    /// Next byte to send; 0 unless active.
    pub streaming_lsn: Lsn,
    /// What it has flushed in our term.
    pub flush_lsn: Lsn,
    /// Its persistent commit position.
    pub commit_lsn: Lsn,
}

impl Proposer {
    /// A snapshot.
    pub fn status(&self) -> ProposerStatus {
        let won = self.leadership.as_ref();
        let safekeepers = self.peers.iter().map(|peer| SafekeeperStatus {
            node_id: peer.node_id,
            phase: peer.phase.name(),
            streaming_lsn: match &peer.phase {
                Phase::Active(stream) => stream.next_lsn,
                _ => Lsn::INVALID,
            },
            flush_lsn: peer.last_response.flush_lsn,
            commit_lsn: peer.last_response.commit_lsn,
        });
        ProposerStatus {
            term: self.term,
            elected: won.is_some(),
            epoch_start_lsn: won.map_or(Lsn::INVALID, |won| won.epoch_start_lsn),
            available_lsn: won.map_or(Lsn::INVALID, |won| won.available_lsn),
            commit_lsn: won.map_or(Lsn::INVALID, |won| won.commit_lsn),
            truncate_lsn: won.map_or(Lsn::INVALID, |won| won.truncate_lsn),
            safekeepers: safekeepers.collect(),
        }
    }
}
