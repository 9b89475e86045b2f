//! A proposer with its database.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use utils::Lsn;

use super::{ACCEPTORS, RECORD_BYTES, Role, START};
use crate::INVALID_TERM;
use crate::messages::ProposerUuid;
use crate::proposer::{ConnectionId, Mode, Proposer, ProposerConfig};
use crate::simulation::safekeeper::{PG_VERSION, TENANT, TIMELINE, WAL_SEG_SIZE};
use crate::term_history::Term;

/// What lies between a proposer and one acceptor.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// The proposer wants to connect, or has.
    pub(super) connection: Option<ConnectionId>,
    pub(super) is_greeted: bool,
    pub(super) to_acceptor: VecDeque<Bytes>,
    pub(super) to_proposer: VecDeque<Bytes>,
    /// The last of the answers is a refusal that ends the proposer.
    pub(super) is_refused: bool,
}

impl Link {
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        (self.connection.is_some(), self.is_greeted).hash(hasher);
        (&self.to_acceptor, &self.to_proposer).hash(hasher);
    }
}

/// One run of a proposer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) role: Role,
    /// Which acceptors it can reach.
    pub(super) reach: [bool; ACCEPTORS],
    /// Where its database continues; 0 until it is started.
    pub(super) redo_start_lsn: Lsn,
    /// `None` until it is started, and when it has ended.
    pub(super) proposer: Option<Proposer>,
    pub(super) was_started: bool,
    /// The term it ran for, once it has ended.
    pub(super) term: Term,
    pub(super) now_ms: u64,
    pub(super) links: [Link; ACCEPTORS],
    /// The term in which it was elected, and where that begins.
    pub(super) elected: Option<(Term, Lsn)>,
    /// Records its database has written since.
    pub(super) records: u64,
    /// For leaving out the rule about the term's start: what each acceptor has flushed.
    pub(super) counted: [Lsn; ACCEPTORS],
}

impl Writer {
    pub(super) fn new(role: Role, reach: &[usize]) -> Self {
        Self {
            role,
            reach: std::array::from_fn(|acceptor| reach.contains(&acceptor)),
            redo_start_lsn: Lsn::INVALID,
            proposer: None,
            was_started: false,
            term: INVALID_TERM,
            now_ms: 0,
            links: Default::default(),
            elected: None,
            records: 0,
            counted: [Lsn::INVALID; ACCEPTORS],
        }
    }

    /// Starts it; a database continues at `redo_start_lsn`.
    pub(super) fn start(&mut self, redo_start_lsn: Lsn) {
        let mode = match self.role {
            Role::Stream => Mode::Stream { redo_start_lsn, last_elected_term: INVALID_TERM },
            Role::Sync => Mode::Sync,
        };
        let config = ProposerConfig {
            mode,
            tenant_id: TENANT,
            timeline_id: TIMELINE,
            system_id: if mode == Mode::Sync { 0 } else { 77 },
            pg_version: PG_VERSION,
            wal_seg_size: WAL_SEG_SIZE,
            proposer_uuid: ProposerUuid::default(),
            safekeeper_count: ACCEPTORS,
            reconnect_interval_ms: TICK_MS,
            // Nothing times out: a connection that brings nothing may as well have.
            connect_timeout_ms: u64::MAX / 2,
            max_append_bytes: RECORD_BYTES,
        };
        self.redo_start_lsn = redo_start_lsn;
        self.proposer = Some(Proposer::new(config).expect("a valid configuration"));
        self.was_started = true;
    }

    /// What its database has written: records that name its term.
    pub(super) fn database(&self) -> Vec<u8> {
        let (term, _) = self.elected.unwrap_or((INVALID_TERM, START));
        vec![term as u8; (self.records * RECORD_BYTES) as usize]
    }

    pub(super) fn database_end(&self) -> Lsn {
        let (_, start) = self.elected.unwrap_or((INVALID_TERM, START));
        start + self.records * RECORD_BYTES
    }

    /// The bytes `[begin, end)` of the database's WAL.
    pub(super) fn read(&self, begin: Lsn, end: Lsn) -> Option<Vec<u8>> {
        let (_, start) = self.elected?;
        let begin = begin.checked_sub(start)? as usize;
        let end = end.checked_sub(start)? as usize;
        self.database().get(begin..end).map(<[u8]>::to_vec)
    }

    pub(super) fn hash_acceptor(&self, index: usize, hasher: &mut impl Hasher) {
        self.reach[index].hash(hasher);
        self.links[index].hash(hasher);
        self.counted[index].hash(hasher);
        if let Some(proposer) = &self.proposer {
            proposer.hash_peer(index, hasher);
        }
    }

    pub(super) fn hash_rest(&self, hasher: &mut impl Hasher) {
        (self.was_started, self.now_ms, self.elected, self.records).hash(hasher);
        (self.proposer.is_some(), self.term).hash(hasher);
        if let Some(proposer) = &self.proposer {
            // The one part of its configuration that is not the same in every run; the election
            // decides whether it was right.
            self.elected.is_none().then_some(self.redo_start_lsn).hash(hasher);
            proposer.hash_rest(hasher);
        }
    }
}

/// Time between two timers.
pub(super) const TICK_MS: u64 = 1000;
