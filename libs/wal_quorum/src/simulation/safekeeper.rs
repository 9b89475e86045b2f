//! A safekeeper: the real acceptor over a disk that survives crashes.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};

use super::disk::{Disk, DiskFault, PowerFailure, SimulatedWal};
use super::network::LinkId;
use crate::acceptor::{Acceptor, AcceptorError, PeerInfo};
use crate::control_file::{ControlFile, ServerInfo};
use crate::messages::{AcceptorMessage, AppendRequest, AppendResponse, ProposerMessage};
use crate::state::TimelineState;
use crate::storage::WalStorage;

pub(super) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(super) const TIMELINE: TimelineId = TimelineId::from_bytes([2; 16]);
pub(super) const WAL_SEG_SIZE: u32 = 16 << 20;
pub(super) const PG_VERSION: u32 = 150013;

pub(super) type SimulatedAcceptor = Acceptor<SimulatedWal, Disk>;

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Reply {
    /// Nothing to say (yet).
    None,
    /// To be sent now.
    Now(Bytes),
    /// Written; a flush shortly after answers for the whole batch.
    AfterFlush,
    /// The session ends.
    Close,
    /// Power failed.
    Crash,
}

/// One safekeeper.
#[derive(Debug)]
pub(super) struct Safekeeper {
    pub(super) disk: Disk,
    /// `None` while it is down.
    pub(super) acceptor: Option<SimulatedAcceptor>,
    pub(super) sessions: BTreeSet<LinkId>,
    /// Sessions with written but unacknowledged WAL.
    pub(super) unflushed: BTreeSet<LinkId>,
    node_id: NodeId,
    /// Skips the check of the term when appending.
    pub(super) accepts_bygone_terms: bool,
}

impl Safekeeper {
    pub(super) fn new(index: usize, seed: u64, fault: DiskFault) -> Self {
        let mut safekeeper = Self {
            disk: Disk::new(seed, fault),
            acceptor: None,
            sessions: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            node_id: NodeId(index as u64 + 1),
            accepts_bygone_terms: false,
        };
        safekeeper.start();
        safekeeper
    }

    /// Loads the timeline from disk, creating it the first time.
    pub(super) fn start(&mut self) {
        let disk = self.disk.clone();
        let state = match disk.control_file() {
            Some(file) => TimelineState::loaded(disk.clone(), file),
            None => {
                let ttid = TenantTimelineId::new(TENANT, TIMELINE);
                let server =
                    ServerInfo { pg_version: PG_VERSION, system_id: 0, wal_seg_size: WAL_SEG_SIZE };
                let file = ControlFile::new(ttid, server, Lsn::INVALID, Lsn::INVALID);
                TimelineState::create(disk.clone(), file).expect("no power failure is planned")
            }
        };
        let wal = SimulatedWal::open(disk, &state);
        self.acceptor = Some(Acceptor::new(state, wal, self.node_id));
    }

    /// Loses everything volatile.
    pub(super) fn crash(&mut self) {
        self.acceptor = None;
        self.sessions.clear();
        self.unflushed.clear();
        self.disk.power_failure();
    }

    /// Handles one message, sometimes in a batch.
    pub(super) fn receive(&mut self, link: LinkId, payload: Bytes, rng: &mut StdRng) -> Reply {
        let message = ProposerMessage::decode(payload).expect("proposers send valid messages");
        let Some(acceptor) = &mut self.acceptor else { return Reply::None };
        if let ProposerMessage::AppendRequest(request) = &message {
            if self.accepts_bygone_terms && request.header.term < acceptor.term() {
                return append_regardless_of_term(acceptor, request);
            }
            if rng.random() {
                return match acceptor.append_without_flush(request) {
                    Ok(None) => {
                        self.unflushed.insert(link);
                        Reply::AfterFlush
                    }
                    Ok(Some(refusal)) => answer(AcceptorMessage::AppendResponse(refusal)),
                    Err(error) => failed(&error),
                };
            }
        }
        match acceptor.process(message) {
            Ok(Some(message)) => answer(message),
            Ok(None) => Reply::None,
            Err(error) => failed(&error),
        }
    }

    /// Ends a batch.
    pub(super) fn flush(&mut self, link: LinkId) -> Reply {
        if !self.unflushed.remove(&link) || !self.sessions.contains(&link) {
            return Reply::None;
        }
        let Some(acceptor) = &mut self.acceptor else { return Reply::None };
        match acceptor.flush_and_respond() {
            Ok(response) => answer(AcceptorMessage::AppendResponse(response)),
            Err(error) => failed(&error),
        }
    }

    /// What it would tell its peers through the broker.
    pub(super) fn peer_info(&self) -> Option<PeerInfo> {
        let acceptor = self.acceptor.as_ref()?;
        let memory = acceptor.state().memory;
        Some(PeerInfo {
            last_log_term: acceptor.last_log_term(),
            commit_lsn: memory.commit_lsn,
            backup_lsn: memory.backup_lsn,
            remote_consistent_lsn: memory.remote_consistent_lsn,
            peer_horizon_lsn: memory.peer_horizon_lsn,
        })
    }

    pub(super) fn record_peer(&mut self, peer: &PeerInfo) -> Reply {
        match self.acceptor.as_mut().map(|acceptor| acceptor.record_peer(peer)) {
            Some(Err(error)) => failed(&error),
            Some(Ok(())) | None => Reply::None,
        }
    }
}

fn answer(message: AcceptorMessage) -> Reply {
    Reply::Now(message.encode())
}

/// Refusals and storage errors that races can cause end the session; anything
/// else is a failure of the protocol.
fn failed(error: &AcceptorError) -> Reply {
    match error {
        AcceptorError::Storage { source, .. } if source.is::<PowerFailure>() => Reply::Crash,
        AcceptorError::Storage { .. } | AcceptorError::WouldOverwrite { .. } => Reply::Close,
        AcceptorError::GreetingMismatch { .. }
        | AcceptorError::AppendBeforeElected { .. }
        | AcceptorError::WrongStreamingPoint { .. }
        | AcceptorError::InvalidHistory { .. }
        | AcceptorError::ForeignHistory { .. }
        | AcceptorError::HistoryConflict(_) => panic!("unexpected refusal: {error}"),
    }
}

/// What an acceptor without the check of the term would do.
fn append_regardless_of_term(acceptor: &mut SimulatedAcceptor, request: &AppendRequest) -> Reply {
    let header = &request.header;
    let wal = acceptor.wal_mut();
    let written = match request.wal.is_empty() {
        true => Ok(()),
        false => wal.write_wal(header.begin_lsn, &request.wal),
    };
    match written.and_then(|()| wal.flush_wal()) {
        Ok(()) => {
            let response = AppendResponse { term: header.term, ..acceptor.append_response() };
            answer(AcceptorMessage::AppendResponse(response))
        }
        Err(error) if error.is::<PowerFailure>() => Reply::Crash,
        Err(_) => Reply::Close,
    }
}
