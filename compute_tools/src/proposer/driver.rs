//! Runs the proposer state machine: feeds it what happens and carries out what it wants.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use postgres_client::ConnectOptions;
use postgres_ffi::WAL_SEGMENT_SIZE;
use tokio::sync::mpsc;
use tokio::time::Instant;
use utils::Lsn;
use wal_quorum::messages::{HotStandbyFeedback, MAX_APPEND_BYTES, ProposerUuid};
use wal_quorum::proposer::{
    Action, ConnectionId, Election, Event, FatalError, Mode, PageserverProgress, Proposer,
    ProposerConfig, ProposerStatus,
};

use crate::proposer::connection::{Connection, ConnectionEvent, Outgoing, PeerEvent};
use crate::proposer::source::SharedWindow;
use crate::proposer::wal_reader::WalPlaces;
use crate::proposer::{Identity, ProposerError};

/// Events waiting for the driver. A full queue slows the safekeepers' sessions down.
const EVENT_QUEUE_LENGTH: usize = 256;

/// Name of the phase in which a safekeeper is being served.
const ACTIVE_PHASE: &str = "active";
/// Name of the phase in which there is no session yet.
const CONNECTING_PHASE: &str = "connecting";

/// What the owner of a driver must know about.
#[derive(Debug)]
pub enum Milestone {
    /// The election is won.
    Elected(Election),
    /// A quorum has everything up to here.
    Committed(Lsn),
    /// The pageservers' progress changed.
    PageserverProgress(PageserverProgress),
    /// What replicas need changed.
    HotStandby(HotStandbyFeedback),
    /// A synchronisation came to its end.
    Synced(Lsn),
}

/// Who has heard of which commit position.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    announced_commit_lsn: Lsn,
    /// Something came back since.
    answered: bool,
}

/// The state machine with everything it needs to act.
#[derive(Debug)]
pub struct Driver {
    proposer: Proposer,
    clock: Instant,
    places: WalPlaces,
    connections: Vec<Option<Connection>>,
    heard: Vec<Heard>,
    /// Why the last session of each safekeeper ended, to report the same reason only once.
    last_failures: Vec<Option<String>>,
    /// Ends of sessions that the driver itself decided on.
    given_up: VecDeque<ConnectionId>,
    sent_bytes: u64,
    events: mpsc::Receiver<PeerEvent>,
    event_sender: mpsc::Sender<PeerEvent>,
}

impl Driver {
    /// A driver that has not done anything yet.
    pub fn new(
        mode: Mode,
        identity: &Identity,
        safekeepers: &[ConnectOptions],
        database: Option<ConnectOptions>,
    ) -> Result<Self, ProposerError> {
        let proposer = Proposer::new(ProposerConfig {
            mode,
            tenant_id: identity.ttid.tenant_id,
            timeline_id: identity.ttid.timeline_id,
            system_id: identity.system_id,
            pg_version: identity.pg_version_num,
            wal_seg_size: WAL_SEGMENT_SIZE as u32,
            proposer_uuid: ProposerUuid(rand::random()),
            safekeeper_count: safekeepers.len(),
            reconnect_interval_ms: ProposerConfig::RECONNECT_INTERVAL_MS,
            connect_timeout_ms: ProposerConfig::CONNECT_TIMEOUT_MS,
            max_append_bytes: MAX_APPEND_BYTES,
        })?;
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE_LENGTH);
        let safekeepers: Arc<[_]> = safekeepers.into();
        Ok(Self {
            proposer,
            clock: Instant::now(),
            connections: safekeepers.iter().map(|_| None).collect(),
            heard: vec![Heard::default(); safekeepers.len()],
            last_failures: vec![None; safekeepers.len()],
            given_up: VecDeque::new(),
            sent_bytes: 0,
            places: WalPlaces { window: Arc::default(), safekeepers, database },
            events,
            event_sender,
        })
    }

    /// Where recent WAL is, from the election on. There is one election, so one window.
    pub fn set_window(&self, window: SharedWindow) {
        let is_first = self.places.window.set(window).is_ok();
        assert!(is_first, "a proposer is elected once");
    }

    /// A snapshot for the status.
    pub fn status(&self) -> ProposerStatus {
        self.proposer.status()
    }

    /// Waits for the next event of a session or of the clock. Cancel safe.
    pub async fn next_event(&mut self) -> Event {
        if let Some(connection) = self.given_up.pop_front() {
            return Event::Disconnected(connection);
        }
        let wakeup = self.clock + Duration::from_millis(self.proposer.next_wakeup_ms());
        // The driver holds a sender itself, so the channel never ends.
        tokio::select! {
            Some(event) = self.events.recv() => self.translate(event),
            () = tokio::time::sleep_until(wakeup) => Event::Tick,
        }
    }

    /// Feeds one event in, acts, and reports what the owner must know.
    pub fn handle(&mut self, event: Event) -> Result<Vec<Milestone>, ProposerError> {
        let now_ms = self.clock.elapsed().as_millis() as u64;
        let mut milestones = Vec::new();
        for action in self.proposer.handle(now_ms, event) {
            milestones.extend(self.carry_out(action)?);
        }
        Ok(milestones)
    }

    /// WAL bytes that went out since the last call.
    pub fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    /// Whether every safekeeper that is being served has all WAL up to `commit_lsn`, was told
    /// that it is committed, and answered.
    pub fn everybody_heard_of(&self, commit_lsn: Lsn) -> bool {
        let status = self.proposer.status();
        let mut active = status
            .safekeepers
            .iter()
            .zip(&self.heard)
            .filter(|(safekeeper, _)| safekeeper.phase == ACTIVE_PHASE);
        active.all(|(safekeeper, heard)| {
            safekeeper.flush_lsn >= commit_lsn
                && heard.announced_commit_lsn >= commit_lsn
                && heard.answered
        })
    }

    /// Sends what is queued and ends all sessions in order. Those that are still being made
    /// have nothing to send.
    pub async fn finish(self) {
        let status = self.proposer.status();
        let Self { mut connections, mut events, event_sender, .. } = self;
        for (connection, safekeeper) in connections.iter_mut().zip(&status.safekeepers) {
            if safekeeper.phase == CONNECTING_PHASE {
                connection.take();
            }
        }
        drop(event_sender);
        // Sessions must be able to report while they end.
        let drain = async { while events.recv().await.is_some() {} };
        let finish = async {
            for connection in connections.into_iter().flatten() {
                connection.finish().await;
            }
        };
        tokio::join!(drain, finish);
    }

    /// The address behind an index of the state machine.
    pub fn address(&self, safekeeper: usize) -> String {
        let options = self.places.safekeepers.get(safekeeper);
        options.map_or_else(|| format!("number {safekeeper}"), ConnectOptions::address)
    }

    fn translate(&mut self, PeerEvent { connection, event }: PeerEvent) -> Event {
        match event {
            ConnectionEvent::Connected => {
                tracing::info!("connected with safekeeper {}", self.address(connection.safekeeper));
                if let Some(last) = self.last_failures.get_mut(connection.safekeeper) {
                    *last = None;
                }
                Event::Connected(connection)
            }
            ConnectionEvent::Received(payload) => {
                if let Some(heard) = self.heard.get_mut(connection.safekeeper) {
                    heard.answered = true;
                }
                Event::Received { connection, payload }
            }
            ConnectionEvent::WalSent(header) => {
                if let Some(heard) = self.heard.get_mut(connection.safekeeper) {
                    heard.announced_commit_lsn = header.commit_lsn;
                    heard.answered = false;
                    self.sent_bytes += header.wal_bytes();
                }
                Event::WalSent(connection)
            }
            ConnectionEvent::Closed(error) => {
                self.report_failure(connection.safekeeper, error.to_string());
                Event::Disconnected(connection)
            }
        }
    }

    /// An offline safekeeper is tried every second; its log line need not come as often.
    fn report_failure(&mut self, safekeeper: usize, reason: String) {
        let address = self.address(safekeeper);
        let Some(last) = self.last_failures.get_mut(safekeeper) else { return };
        if last.as_ref() == Some(&reason) {
            tracing::debug!("safekeeper {address}: {reason}; trying again");
        } else {
            tracing::warn!("safekeeper {address}: {reason}; trying again until it answers");
            *last = Some(reason);
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<Option<Milestone>, ProposerError> {
        match action {
            Action::Connect(id) => self.connect(id),
            Action::Disconnect { connection, reason } => {
                let address = self.address(connection.safekeeper);
                tracing::warn!("terminating connection to safekeeper {address}: {reason}");
                self.drop_connection(connection);
            }
            Action::Send { connection, payload } => {
                self.queue(connection, Outgoing::Payload(payload));
            }
            Action::SendWal { connection, header, source } => {
                self.queue(connection, Outgoing::Wal { header, source });
            }
            Action::Elected(election) => return Ok(Some(Milestone::Elected(election))),
            Action::Committed { lsn } => return Ok(Some(Milestone::Committed(lsn))),
            Action::PageserverFeedback(progress) => {
                return Ok(Some(Milestone::PageserverProgress(progress)));
            }
            Action::HotStandbyFeedback(feedback) => {
                return Ok(Some(Milestone::HotStandby(feedback)));
            }
            Action::Synced { lsn } => return Ok(Some(Milestone::Synced(lsn))),
            Action::Fatal(error) => return Err(self.fatal(error)),
        }
        Ok(None)
    }

    fn connect(&mut self, id: ConnectionId) {
        let Some(options) = self.places.safekeepers.get(id.safekeeper) else { return };
        let connection =
            Connection::open(options.clone(), id, self.places.clone(), self.event_sender.clone());
        if let Some(slot) = self.connections.get_mut(id.safekeeper) {
            *slot = Some(connection);
        }
        if let Some(heard) = self.heard.get_mut(id.safekeeper) {
            *heard = Heard::default();
        }
    }

    fn drop_connection(&mut self, id: ConnectionId) {
        if let Some(slot) = self.connections.get_mut(id.safekeeper) {
            slot.take_if(|connection| connection.id == id);
        }
    }

    fn queue(&mut self, id: ConnectionId, outgoing: Outgoing) {
        let connection = self.connections.get(id.safekeeper).and_then(Option::as_ref);
        let Some(connection) = connection.filter(|connection| connection.id == id) else { return };
        if let Err(error) = connection.queue(outgoing) {
            tracing::warn!("giving up on safekeeper {}: {error}", self.address(id.safekeeper));
            self.drop_connection(id);
            self.given_up.push_back(id);
        }
    }

    /// Names the safekeeper by its address; the state machine knows only its index.
    fn fatal(&self, reason: FatalError) -> ProposerError {
        let address = match &reason {
            FatalError::HigherTerm { safekeeper, .. }
            | FatalError::VoteRefused { safekeeper, .. }
            | FatalError::Superseded { safekeeper, .. } => Some(self.address(*safekeeper)),
            FatalError::BasebackupMismatch { .. } => None,
        };
        let elected = self.proposer.status().elected;
        match (reason, address) {
            (FatalError::BasebackupMismatch { epoch_start_lsn, redo_start_lsn }, _) => {
                ProposerError::WrittenMeanwhile {
                    end_lsn: epoch_start_lsn,
                    start_lsn: redo_start_lsn,
                }
            }
            (FatalError::Superseded { term, ours, .. }, address)
            | (FatalError::HigherTerm { term, ours, .. }, address)
                if elected =>
            {
                let address = address.unwrap_or_default();
                ProposerError::Superseded { address, term, ours }
            }
            (reason, address) => {
                ProposerError::Election { address: address.unwrap_or_default(), reason }
            }
        }
    }
}
