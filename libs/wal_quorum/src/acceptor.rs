//! A safekeeper's half of the consensus: promises, log and commit position of
//! one timeline.
//!
//! The acceptor owns the persistent state and drives the WAL storage. It must
//! be called by one thread at a time, for every connection of the timeline:
//! handling a message, disk included, is one atomic step, which is what makes
//! "check the term, write, sync, answer" safe. It never answers before what the
//! answer says is on disk.
//!
//! Sessions batch: while more AppendRequests are at hand use
//! [`Acceptor::append_without_flush`], then [`Acceptor::flush_and_respond`] once.

mod append;
mod elected;
mod peer;

use utils::{Lsn, NodeId};

use crate::control_file::{ControlFile, ServerInfo};
use crate::messages::{
    AcceptorGreeting, AcceptorMessage, ProposerGreeting, ProposerMessage, VoteRequest, VoteResponse,
};
use crate::state::TimelineState;
use crate::storage::{ControlStore, StorageError, WalStorage};
use crate::term_history::{HistoryConflict, HistoryError, Term, TermHistory};
pub use peer::PeerInfo;

/// Why a message was not handled. The session that sent it ends; the timeline
/// stays usable unless its storage says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// The greeting does not fit the timeline.
    #[error(
        "proposer greeting does not match timeline {ttid}: {field} is {theirs}, here it is {ours}"
    )]
    GreetingMismatch {
        /// The timeline of the session.
        ttid: utils::TenantTimelineId,
        /// What differs.
        field: &'static str,
        /// The proposer's value.
        theirs: String,
        /// The value on this safekeeper.
        ours: String,
    },
    /// The proposer skipped its announcement.
    #[error(
        "got AppendRequest before ProposerElected: the request is of term {request}, \
         the current term is {current}"
    )]
    AppendBeforeElected {
        /// Term of the request.
        request: Term,
        /// The acceptor's term.
        current: Term,
    },
    /// An old connection of the same proposer flushed more since the vote.
    #[error(
        "refusing ProposerElected which is going to overwrite correct WAL: term {term} would \
         restart at {start_streaming_at}, but its WAL is already flushed up to {flush_lsn}; \
         reconnect to learn the new position"
    )]
    WouldOverwrite {
        /// The common term.
        term: Term,
        /// Where the proposer wants to start.
        start_streaming_at: Lsn,
        /// What is durable here.
        flush_lsn: Lsn,
    },
    /// The announced streaming point is not where the two logs part.
    #[error(
        "refusing ProposerElected of term {term}: it wants to stream from {announced}, \
         but the logs have {computed} in common; reconnect to learn the new position"
    )]
    WrongStreamingPoint {
        /// The leader's term.
        term: Term,
        /// The leader's choice.
        announced: Lsn,
        /// What comparing the histories gives here.
        computed: Lsn,
    },
    /// The announced history cannot be that of a leader.
    #[error("refusing ProposerElected of term {term}: {source}")]
    InvalidHistory {
        /// The leader's term.
        term: Term,
        /// What is wrong with it.
        source: HistoryError,
    },
    /// The announced history does not end with the leader's own term.
    #[error("refusing ProposerElected of term {term}: its history ends with term {last}")]
    ForeignHistory {
        /// The leader's term.
        term: Term,
        /// The last term of the history.
        last: Term,
    },
    /// The histories contradict each other.
    #[error("refusing ProposerElected: {0}")]
    HistoryConflict(#[from] HistoryConflict),
    /// The disk refused.
    #[error("cannot {operation} of timeline {ttid}: {source}")]
    Storage {
        /// The timeline.
        ttid: utils::TenantTimelineId,
        /// What was attempted.
        operation: &'static str,
        /// The storage's answer.
        source: StorageError,
    },
}

/// The acceptor of one timeline.
#[derive(Clone, Debug)]
pub struct Acceptor<S, C> {
    state: TimelineState<C>,
    wal: S,
    node_id: NodeId,
    /// Where the term of the leader last announced begins; 0 since the restart
    /// until a leader is announced.
    term_start_lsn: Lsn,
}

impl<S: WalStorage, C: ControlStore> Acceptor<S, C> {
    /// Joins state and log of a timeline after loading or creating it.
    pub fn new(state: TimelineState<C>, wal: S, node_id: NodeId) -> Self {
        Self { state, wal, node_id, term_start_lsn: Lsn::INVALID }
    }

    /// Takes the parts back, dropping what is volatile.
    pub fn into_parts(self) -> (TimelineState<C>, S) {
        (self.state, self.wal)
    }

    /// Persistent state and overlay.
    pub fn state(&self) -> &TimelineState<C> {
        &self.state
    }

    /// For changes that are none of the consensus' business (backup, eviction,
    /// patches). Term, history and commit position must be left alone.
    pub fn state_mut(&mut self) -> &mut TimelineState<C> {
        &mut self.state
    }

    /// The log.
    pub fn wal(&self) -> &S {
        &self.wal
    }

    /// For closing files and the like; the positions must be left alone.
    pub fn wal_mut(&mut self) -> &mut S {
        &mut self.wal
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.state.acceptor_state.term
    }

    /// Where the term of the connected leader begins (`epoch_start_lsn` in
    /// outward reports); 0 when no leader was announced since the start.
    pub fn term_start_lsn(&self) -> Lsn {
        self.term_start_lsn
    }

    /// End of the durable log as the protocol sees it: a fresh timeline counts
    /// as flushed up to its start. Outward reports use the storage's own value.
    pub fn flush_lsn(&self) -> Lsn {
        self.wal.flush_record_lsn().max(self.state.timeline_start_lsn)
    }

    /// History of what is durable here.
    pub fn term_history(&self) -> TermHistory {
        self.state.acceptor_state.term_history.up_to(self.flush_lsn())
    }

    /// Term of the last durable WAL (called `epoch` in the HTTP API).
    pub fn last_log_term(&self) -> Term {
        self.term_history().last_term()
    }

    /// Handles one message durably and returns the answer, if there is one.
    pub fn process(
        &mut self,
        message: ProposerMessage,
    ) -> Result<Option<AcceptorMessage>, AcceptorError> {
        match message {
            ProposerMessage::Greeting(greeting) => {
                self.greet(&greeting).map(AcceptorMessage::Greeting).map(Some)
            }
            ProposerMessage::VoteRequest(request) => {
                self.vote(&request).map(AcceptorMessage::VoteResponse).map(Some)
            }
            ProposerMessage::Elected(elected) => self.announce(elected).map(|()| None),
            ProposerMessage::AppendRequest(request) => {
                self.append(&request).map(AcceptorMessage::AppendResponse).map(Some)
            }
        }
    }

    fn greet(&mut self, greeting: &ProposerGreeting) -> Result<AcceptorGreeting, AcceptorError> {
        let server = self.state.server;
        let ours = ServerInfo { pg_version: server.pg_version / 10_000, ..server };
        let theirs = greeting.pg_version / 10_000;
        if ours.pg_version != 0 {
            self.expect_equal("PostgreSQL major version", &theirs, &ours.pg_version)?;
        }
        self.expect_equal("tenant", &greeting.tenant_id, &self.state.tenant_id)?;
        self.expect_equal("timeline", &greeting.timeline_id, &self.state.timeline_id)?;
        self.expect_equal("wal_seg_size", &greeting.wal_seg_size, &ours.wal_seg_size)?;
        if greeting.system_id != 0 && greeting.system_id != ours.system_id {
            let mut changed = self.state.start_change();
            changed.server.system_id = greeting.system_id;
            changed.server.pg_version = greeting.pg_version;
            self.persist("record the server", changed)?;
        }
        Ok(AcceptorGreeting { term: self.term(), node_id: self.node_id })
    }

    fn expect_equal<T: PartialEq + std::fmt::Display>(
        &self,
        field: &'static str,
        theirs: &T,
        ours: &T,
    ) -> Result<(), AcceptorError> {
        if theirs == ours {
            return Ok(());
        }
        Err(AcceptorError::GreetingMismatch {
            ttid: self.state.ttid(),
            field,
            theirs: theirs.to_string(),
            ours: ours.to_string(),
        })
    }

    /// The log is flushed first: once the vote is given nothing of an older
    /// leader is accepted any more, so the position reported is final.
    fn vote(&mut self, request: &VoteRequest) -> Result<VoteResponse, AcceptorError> {
        self.flush_wal()?;
        let vote_given = self.term() < request.term;
        if vote_given {
            self.adopt_term(request.term)?;
        }
        Ok(VoteResponse {
            term: self.term(),
            vote_given,
            flush_lsn: self.flush_lsn(),
            truncate_lsn: self.state.memory.peer_horizon_lsn,
            term_history: self.term_history(),
            timeline_start_lsn: self.state.timeline_start_lsn,
        })
    }

    fn adopt_term(&mut self, term: Term) -> Result<(), AcceptorError> {
        let mut changed = self.state.start_change();
        assert!(term > changed.acceptor_state.term, "terms only grow");
        changed.acceptor_state.term = term;
        self.persist("record the term", changed)
    }

    fn persist(
        &mut self,
        operation: &'static str,
        changed: ControlFile,
    ) -> Result<(), AcceptorError> {
        let result = self.state.finish_change(changed);
        self.storage(operation, result)
    }

    fn flush_wal(&mut self) -> Result<(), AcceptorError> {
        let result = self.wal.flush_wal();
        self.storage("flush WAL", result)
    }

    fn storage<T>(
        &self,
        operation: &'static str,
        result: Result<T, StorageError>,
    ) -> Result<T, AcceptorError> {
        let ttid = self.state.ttid();
        result.map_err(|source| AcceptorError::Storage { ttid, operation, source })
    }
}

#[cfg(test)]
mod tests;
