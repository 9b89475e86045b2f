//! Following a new leader: cutting the log to what both have in common, then
//! adopting the leader's history.

use utils::Lsn;

use super::{Acceptor, AcceptorError};
use crate::messages::ProposerElected;
use crate::storage::{ControlStore, WalStorage};

impl<S: WalStorage, C: ControlStore> Acceptor<S, C> {
    /// Handles the announcement. One of a bygone term is ignored: the answer to
    /// the first AppendRequest tells that proposer.
    pub(super) fn announce(&mut self, elected: ProposerElected) -> Result<(), AcceptorError> {
        let term = elected.term;
        if self.term() > term {
            return Ok(());
        }
        check_history(&elected)?;
        if self.term() < term {
            self.adopt_term(term)?;
        }
        self.check_streaming_point(&elected)?;
        let start = elected.start_streaming_at;
        let commit_lsn = self.state.memory.commit_lsn;
        assert!(
            start >= commit_lsn,
            "leader of term {term} would truncate committed WAL: \
             it streams from {start}, committed is {commit_lsn}"
        );
        if self.wal.flush_record_lsn() == Lsn::INVALID {
            let server = self.state.server;
            let result = self.wal.initialize_first_segment(start, &server);
            self.storage("initialise the first segment", result)?;
        }
        // The order is essential: after a crash in between, a shortened log is
        // still described by the old history, while the new history over the
        // old log would claim WAL of terms it does not hold.
        let result = self.wal.truncate_wal(start);
        self.storage("truncate WAL", result)?;
        self.adopt_history(elected)
    }

    fn check_streaming_point(&self, elected: &ProposerElected) -> Result<(), AcceptorError> {
        let start_streaming_at = elected.start_streaming_at;
        let flush_lsn = self.flush_lsn();
        if elected.term == self.last_log_term() && flush_lsn > start_streaming_at {
            return Err(AcceptorError::WouldOverwrite {
                term: elected.term,
                start_streaming_at,
                flush_lsn,
            });
        }
        let common = elected.term_history.highest_common_point(&self.term_history(), flush_lsn)?;
        // Without anything in common the leader streams from its beginning.
        let computed = common
            .or_else(|| elected.term_history.0.first().copied())
            .map_or(start_streaming_at, |point| point.lsn);
        if computed != start_streaming_at {
            return Err(AcceptorError::WrongStreamingPoint {
                term: elected.term,
                announced: start_streaming_at,
                computed,
            });
        }
        Ok(())
    }

    fn adopt_history(&mut self, elected: ProposerElected) -> Result<(), AcceptorError> {
        let mut changed = self.state.start_change();
        if changed.timeline_start_lsn == Lsn::INVALID {
            changed.timeline_start_lsn = elected.timeline_start_lsn;
        }
        if changed.peer_horizon_lsn == Lsn::INVALID {
            changed.peer_horizon_lsn = elected.timeline_start_lsn;
        }
        if changed.local_start_lsn == Lsn::INVALID {
            changed.local_start_lsn = elected.start_streaming_at;
        }
        // The hole before the first record must not be scanned on restart, so
        // no position may stay in it.
        let start = changed.timeline_start_lsn;
        changed.commit_lsn = changed.commit_lsn.max(start);
        changed.backup_lsn = changed.backup_lsn.max(start);
        changed.remote_consistent_lsn = changed.remote_consistent_lsn.max(start);
        let term_start = elected.term_history.0.last().map_or(Lsn::INVALID, |entry| entry.lsn);
        changed.acceptor_state.term_history = elected.term_history;
        self.persist("record the leader's history", changed)?;
        self.term_start_lsn = term_start;
        Ok(())
    }
}

fn check_history(elected: &ProposerElected) -> Result<(), AcceptorError> {
    let term = elected.term;
    elected
        .term_history
        .check_leader_history()
        .map_err(|source| AcceptorError::InvalidHistory { term, source })?;
    match elected.term_history.last_term() {
        last if last == term => Ok(()),
        last => Err(AcceptorError::ForeignHistory { term, last }),
    }
}
