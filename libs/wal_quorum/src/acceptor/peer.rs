//! What peers say through the broker.

use utils::Lsn;

use super::{Acceptor, AcceptorError};
use crate::storage::{ControlStore, WalStorage};
use crate::term_history::{INVALID_TERM, Term};

/// The part of a peer's broker message that concerns this timeline's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Term of the peer's last durable WAL.
    pub last_log_term: Term,
    /// The peer's commit position; 0 when unknown.
    pub commit_lsn: Lsn,
    /// End of the last archived segment.
    pub backup_lsn: Lsn,
    /// What pageservers made durable.
    pub remote_consistent_lsn: Lsn,
    /// Flushed on all safekeepers.
    pub peer_horizon_lsn: Lsn,
}

impl<S: WalStorage, C: ControlStore> Acceptor<S, C> {
    /// Takes over what `peer` knows better. Its commit position counts only if
    /// the last terms of both logs are equal, which makes one log a prefix of
    /// the other.
    pub fn record_peer(&mut self, peer: &PeerInfo) -> Result<(), AcceptorError> {
        let same_log =
            peer.last_log_term != INVALID_TERM && peer.last_log_term == self.last_log_term();
        if peer.commit_lsn != Lsn::INVALID && same_log {
            self.advance_commit_lsn(peer.commit_lsn)?;
        }
        let result = self.state.record_peer(peer);
        self.storage("flush the control file", result)
    }
}
