//! A safekeeper: the real acceptor over a disk that survives crashes.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};

use super::disk::DiskFault;
use super::network::LinkId;
use super::platform::Platform;
use crate::acceptor::{Acceptor, AcceptorError, PeerInfo};
use crate::control_file::{ControlFile, ServerInfo};
use crate::messages::{AcceptorMessage, AppendRequest, AppendResponse, ProposerMessage};
use crate::state::TimelineState;
use crate::storage::WalStorage;

pub const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub const TIMELINE: TimelineId = TimelineId::from_bytes([2; 16]);
pub const WAL_SEG_SIZE: u32 = 16 << 20;
pub const PG_VERSION: u32 = 150013;

/// The real acceptor over a platform's storage.
pub type SimulatedAcceptor<P> = Acceptor<<P as Platform>::Wal, <P as Platform>::Control>;

/// What becomes of a message.
#[derive(Debug)]
pub enum Reply {
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
pub struct Safekeeper<P: Platform> {
    pub disk: P,
    /// `None` while it is down.
    pub acceptor: Option<SimulatedAcceptor<P>>,
    pub sessions: BTreeSet<LinkId>,
    /// Sessions with written but unacknowledged WAL.
    pub unflushed: BTreeSet<LinkId>,
    node_id: NodeId,
    /// Skips the check of the term when appending.
    pub accepts_bygone_terms: bool,
}

impl<P: Platform> Safekeeper<P> {
    pub fn new(index: usize, seed: u64, fault: DiskFault) -> Self {
        let mut safekeeper = Self {
            disk: P::new(seed, fault),
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
    pub fn start(&mut self) {
        let disk = &self.disk;
        let store = disk.control_store();
        let state = match disk.control_file() {
            Some(file) => TimelineState::loaded(store, file),
            None => {
                let ttid = TenantTimelineId::new(TENANT, TIMELINE);
                let server =
                    ServerInfo { pg_version: PG_VERSION, system_id: 0, wal_seg_size: WAL_SEG_SIZE };
                let file = ControlFile::new(ttid, server, Lsn::INVALID, Lsn::INVALID);
                TimelineState::create(store, file).expect("no power failure is planned")
            }
        };
        let wal = disk.open_wal(&state);
        self.acceptor = Some(Acceptor::new(state, wal, self.node_id));
    }

    /// Loses everything volatile.
    pub fn crash(&mut self) {
        self.acceptor = None;
        self.sessions.clear();
        self.unflushed.clear();
        self.disk.power_failure();
    }

    /// Handles one message, sometimes in a batch.
    pub fn receive(&mut self, link: LinkId, payload: Bytes, rng: &mut StdRng) -> Reply {
        let message = ProposerMessage::decode(payload).expect("proposers send valid messages");
        let Some(acceptor) = &mut self.acceptor else { return Reply::None };
        if let ProposerMessage::AppendRequest(request) = &message {
            if self.accepts_bygone_terms && request.header.term < acceptor.term() {
                return append_regardless_of_term::<P>(&self.disk, acceptor, request);
            }
            if rng.random() {
                return match acceptor.append_without_flush(request) {
                    Ok(None) => {
                        self.unflushed.insert(link);
                        Reply::AfterFlush
                    }
                    Ok(Some(refusal)) => answer(AcceptorMessage::AppendResponse(refusal)),
                    Err(error) => failed(&self.disk, &error),
                };
            }
        }
        match acceptor.process(message) {
            Ok(Some(message)) => answer(message),
            Ok(None) => Reply::None,
            Err(error) => failed(&self.disk, &error),
        }
    }

    /// Ends a batch.
    pub fn flush(&mut self, link: LinkId) -> Reply {
        if !self.unflushed.remove(&link) || !self.sessions.contains(&link) {
            return Reply::None;
        }
        let Some(acceptor) = &mut self.acceptor else { return Reply::None };
        match acceptor.flush_and_respond() {
            Ok(response) => answer(AcceptorMessage::AppendResponse(response)),
            Err(error) => failed(&self.disk, &error),
        }
    }

    /// What it would tell its peers through the broker.
    pub fn peer_info(&self) -> Option<PeerInfo> {
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

    pub fn record_peer(&mut self, peer: &PeerInfo) -> Reply {
        match self.acceptor.as_mut().map(|acceptor| acceptor.record_peer(peer)) {
            Some(Err(error)) => failed(&self.disk, &error),
            Some(Ok(())) | None => Reply::None,
        }
    }
}

fn answer(message: AcceptorMessage) -> Reply {
    Reply::Now(message.encode())
}

/// Refusals and storage errors that races can cause end the session; anything
/// else is a failure of the protocol.
fn failed<P: Platform>(disk: &P, error: &AcceptorError) -> Reply {
    match error {
        AcceptorError::Storage { .. } if disk.has_failed() => Reply::Crash,
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
fn append_regardless_of_term<P: Platform>(
    disk: &P,
    acceptor: &mut SimulatedAcceptor<P>,
    request: &AppendRequest,
) -> Reply {
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
        Err(_) if disk.has_failed() => Reply::Crash,
        Err(_) => Reply::Close,
    }
}
