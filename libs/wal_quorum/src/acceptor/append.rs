//! Accepting WAL from the leader, and the commit position.

use utils::Lsn;

use super::{Acceptor, AcceptorError};
use crate::messages::{AppendRequest, AppendRequestHeader, AppendResponse, HotStandbyFeedback};
use crate::storage::{ControlStore, WalStorage};

impl<S: WalStorage, C: ControlStore> Acceptor<S, C> {
    /// Writes without syncing. `None`: written, to be acknowledged by a later
    /// [`Self::flush_and_respond`]. `Some`: the request is of a bygone term,
    /// nothing was written, and this is the answer.
    pub fn append_without_flush(
        &mut self,
        request: &AppendRequest,
    ) -> Result<Option<AppendResponse>, AcceptorError> {
        let refusal = self.write(request)?;
        if refusal.is_none() {
            self.follow_leader(&request.header)?;
        }
        Ok(refusal)
    }

    /// Syncs everything written so far and says what is durable.
    pub fn flush_and_respond(&mut self) -> Result<AppendResponse, AcceptorError> {
        self.flush_wal()?;
        Ok(self.append_response())
    }

    /// One request, durably. The leader's commit position is taken after the
    /// flush, which would otherwise hold it back.
    pub(super) fn append(
        &mut self,
        request: &AppendRequest,
    ) -> Result<AppendResponse, AcceptorError> {
        if let Some(refusal) = self.write(request)? {
            return Ok(refusal);
        }
        self.flush_wal()?;
        self.follow_leader(&request.header)?;
        Ok(self.append_response())
    }

    fn write(&mut self, request: &AppendRequest) -> Result<Option<AppendResponse>, AcceptorError> {
        let header = &request.header;
        if self.term() < header.term {
            let (request, current) = (header.term, self.term());
            return Err(AcceptorError::AppendBeforeElected { request, current });
        }
        if self.term() > header.term {
            return Ok(Some(AppendResponse::term_only(self.term())));
        }
        // A vote alone does not make the log the leader's: it is cut and gets
        // the leader's history only by the announcement.
        if self.state.acceptor_state.term_history.last_term() != header.term {
            let (request, current) = (header.term, self.term());
            return Err(AcceptorError::AppendBeforeElected { request, current });
        }
        self.state.memory.proposer_uuid = header.proposer_uuid;
        if !request.wal.is_empty() {
            let result = self.wal.write_wal(header.begin_lsn, &request.wal);
            self.storage("write WAL", result)?;
        }
        Ok(None)
    }

    /// What is durable now. The commit position is the one on disk: a syncing
    /// proposer relies on it surviving a crash.
    pub fn append_response(&self) -> AppendResponse {
        AppendResponse {
            term: self.term(),
            flush_lsn: self.flush_lsn(),
            commit_lsn: self.state.commit_lsn,
            hs_feedback: HotStandbyFeedback::default(),
            pageserver_feedback: None,
        }
    }

    fn follow_leader(&mut self, header: &AppendRequestHeader) -> Result<(), AcceptorError> {
        if header.commit_lsn != Lsn::INVALID {
            self.advance_commit_lsn(header.commit_lsn)?;
        }
        // A proposer may know less than peers told us.
        let memory = &mut self.state.memory;
        memory.peer_horizon_lsn = memory.peer_horizon_lsn.max(header.truncate_lsn);
        let wal_seg_size = u64::from(self.state.server.wal_seg_size);
        if self.state.memory.commit_lsn.saturating_sub(self.state.commit_lsn) > wal_seg_size {
            self.flush_state()?;
        }
        Ok(())
    }

    /// Raises the commit position to `candidate`, as far as the log is durable.
    /// The candidate must come from somebody whose log is known to match.
    pub(super) fn advance_commit_lsn(&mut self, candidate: Lsn) -> Result<(), AcceptorError> {
        let old = self.state.memory.commit_lsn;
        let new = candidate.max(old).min(self.flush_lsn());
        assert!(new >= old, "committed WAL is missing: commit {old}, flushed {}", self.flush_lsn());
        self.state.memory.commit_lsn = new;
        // A syncing proposer waits for the persistent position to reach its term.
        if new >= self.term_start_lsn && self.state.commit_lsn < self.term_start_lsn {
            self.flush_state()?;
        }
        Ok(())
    }

    pub(super) fn flush_state(&mut self) -> Result<(), AcceptorError> {
        let result = self.state.flush();
        self.storage("flush the control file", result)
    }
}
