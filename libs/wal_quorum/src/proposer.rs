//! The compute's half of the consensus: the single writer of a timeline's WAL.
//!
//! [`Proposer`] wins an election among the safekeepers, brings each of them to
//! its history, streams WAL, counts acknowledgements and says what is
//! committed. It is a state machine without I/O: a *driver* owns sockets,
//! clock and database, feeds [`Event`]s in and carries out the [`Action`]s
//! that come back. A proposer never does anything on its own and keeps nothing
//! durable.
//!
//! # Driving it
//!
//! * [`Proposer::handle`] takes the current time (milliseconds of any clock
//!   that does not go back) and one event, and returns actions, **to be carried
//!   out in order**. In particular a driver that keeps its data directory must
//!   have stored the term of [`Action::Elected`] before it goes on.
//! * Call it with [`Event::Tick`] once at the start and whenever
//!   [`Proposer::next_wakeup_ms`] has passed.
//! * A [`ConnectionId`] names one attempt to talk to one safekeeper. Events of
//!   connections that were given up meanwhile are ignored, so a driver need not
//!   synchronise tasks: it may report late, twice, or about closed sockets.
//! * On [`Action::Connect`] open a libpq connection (replication is not asked
//!   for), run `START_WAL_PUSH`, and report [`Event::Connected`] when CopyBoth
//!   begins, or [`Event::Disconnected`]. Every CopyData payload that arrives is
//!   an [`Event::Received`]; any end of the connection is `Disconnected`.
//! * [`Action::Send`] and [`Action::SendWal`] of one connection must reach it in
//!   order, each as one CopyData message. After a `SendWal` has been handed to the
//!   transport report [`Event::WalSent`]; the next `SendWal` of that connection
//!   comes only after that, so at most one is in flight and a slow safekeeper
//!   costs bounded memory. `Send`s are few and small.
//! * `SendWal` leaves the bytes to the driver: encode the header, append the
//!   bytes `[begin_lsn, end_lsn)` taken from [`WalSource`]. If they cannot be had,
//!   close the connection and report `Disconnected`: it will be retried.
//! * [`Action::Synced`] and [`Action::Fatal`] are last: everything queued should
//!   be sent (`Synced`) or dropped (`Fatal`), and the proposer be thrown away.
//!   A new attempt is a new `Proposer`.
//!
//! In [`Mode::Stream`] the driver also follows the database: from the election's
//! `epoch_start_lsn` on it reads WAL and reports [`Event::WalAvailable`], tells
//! with [`Event::LocalWindow`] what it has dropped again, and releases commits at
//! [`Action::Committed`].
//!
//! # Example: a driving loop
//!
//! One channel per direction and connection; `transport` stands for the driver's
//! own connection tasks.
//!
//! ```
//! use wal_quorum::proposer::{Action, Event, Outcome, Proposer, ProposerConfig, Transport};
//!
//! /// Runs a proposer to its end.
//! fn drive(config: ProposerConfig, transport: &mut dyn Transport) -> Outcome {
//!     let mut proposer = Proposer::new(config).expect("valid configuration");
//!     let mut event = Event::Tick;
//!     loop {
//!         for action in proposer.handle(transport.now_ms(), event) {
//!             match action {
//!                 // Connect, Disconnect, Send, SendWal, Elected, Committed, feedback:
//!                 // quick, or handed to the task of that connection.
//!                 Action::Synced { lsn } => return Outcome::Synced(lsn),
//!                 Action::Fatal(error) => return Outcome::Fatal(error),
//!                 other => transport.carry_out(other),
//!             }
//!         }
//!         // The next event, or None once the wake-up time has come.
//!         event = transport.next_event(proposer.next_wakeup_ms()).unwrap_or(Event::Tick);
//!     }
//! }
//! ```

mod api;
mod election;
mod feedback;
#[cfg(test)]
mod fingerprint;
mod peer;
mod status;
mod streaming;

use std::collections::VecDeque;

use bytes::Bytes;
use utils::Lsn;

use crate::messages::{AcceptorMessage, ProposerGreeting, ProposerMessage};
use crate::term_history::{INVALID_TERM, Term};
pub use api::{
    Action, CloseReason, ConfigError, ConnectionId, Election, Event, FatalError, Mode, Outcome,
    ProposerConfig, Transport, WalSource,
};
use election::Leadership;
use feedback::Feedback;
pub use feedback::PageserverProgress;
use peer::{Peer, Phase};
pub use status::{ProposerStatus, SafekeeperStatus};

/// One run of a proposer; see the module documentation.
#[derive(Clone, Debug)]
pub struct Proposer {
    config: ProposerConfig,
    peers: Vec<Peer>,
    /// Fixed once a quorum was greeted; [`INVALID_TERM`] before.
    term: Term,
    /// Set by the election.
    leadership: Option<Leadership>,
    feedback: Feedback,
    /// First position that the driver still holds, for positions of our term.
    local_window_start: Lsn,
    last_reconnect_ms: Option<u64>,
    last_heartbeat_ms: u64,
    /// When those who have not heard of the commit position are told.
    commit_announcement_due_ms: Option<u64>,
    /// Time of the event being handled.
    now_ms: u64,
    /// After the last action nothing happens any more.
    finished: bool,
    actions: VecDeque<Action>,
}

impl Proposer {
    /// A proposer that has not done anything yet.
    pub fn new(config: ProposerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let peers = (0..config.safekeeper_count).map(|_| Peer::new()).collect();
        Ok(Self {
            config,
            peers,
            term: INVALID_TERM,
            leadership: None,
            feedback: Feedback::default(),
            local_window_start: Lsn::INVALID,
            last_reconnect_ms: None,
            last_heartbeat_ms: 0,
            commit_announcement_due_ms: None,
            now_ms: 0,
            finished: false,
            actions: VecDeque::new(),
        })
    }

    /// Digests one event and returns what is to be done, in order.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        if self.finished {
            return Vec::new();
        }
        self.now_ms = now_ms;
        match event {
            Event::Tick => {}
            Event::Connected(connection) => self.on_connected(now_ms, connection),
            Event::Disconnected(connection) => self.on_disconnected(connection),
            Event::Received { connection, payload } => {
                self.on_received(now_ms, connection, payload);
            }
            Event::WalSent(connection) => self.on_wal_sent(connection),
            Event::WalAvailable { end_lsn } => self.on_wal_available(end_lsn),
            Event::LocalWindow { start_lsn } => self.local_window_start = start_lsn,
        }
        self.check_timers(now_ms);
        std::mem::take(&mut self.actions).into()
    }

    /// When to call again with [`Event::Tick`] if nothing else happens.
    pub fn next_wakeup_ms(&self) -> u64 {
        let interval_ms = self.config.reconnect_interval_ms;
        let reconnect_ms = self.last_reconnect_ms.map_or(0, |last| last + interval_ms);
        let heartbeat_ms = self.last_heartbeat_ms + interval_ms;
        let announcement_ms = self.commit_announcement_due_ms.unwrap_or(u64::MAX);
        reconnect_ms.min(heartbeat_ms).min(announcement_ms)
    }

    /// More than half of the safekeepers.
    fn quorum(&self) -> usize {
        self.config.safekeeper_count / 2 + 1
    }

    fn act(&mut self, action: Action) {
        if !self.finished {
            self.finished = matches!(action, Action::Synced { .. } | Action::Fatal(_));
            self.actions.push_back(action);
        }
    }

    fn fail(&mut self, error: FatalError) {
        self.act(Action::Fatal(error));
    }

    /// The peer of a connection that is still the current one.
    fn current_peer(&self, connection: ConnectionId) -> Option<usize> {
        let index = connection.safekeeper;
        let peer = self.peers.get(index)?;
        let current = peer.attempt == connection.attempt && peer.phase != Phase::Offline;
        current.then_some(index)
    }

    fn connection(&self, index: usize) -> ConnectionId {
        ConnectionId { safekeeper: index, attempt: self.peers[index].attempt }
    }

    fn send(&mut self, index: usize, message: &ProposerMessage) {
        let connection = self.connection(index);
        self.act(Action::Send { connection, payload: message.encode() });
    }

    fn on_connected(&mut self, now_ms: u64, connection: ConnectionId) {
        let Some(index) = self.current_peer(connection) else { return };
        if self.peers[index].phase != Phase::Connecting {
            return;
        }
        self.peers[index].phase = Phase::Handshake;
        self.peers[index].last_heard_ms = now_ms;
        let greeting = ProposerGreeting {
            pg_version: self.config.pg_version,
            proposer_uuid: self.config.proposer_uuid,
            system_id: self.config.system_id,
            timeline_id: self.config.timeline_id,
            tenant_id: self.config.tenant_id,
            pg_timeline: 1,
            wal_seg_size: self.config.wal_seg_size,
        };
        self.send(index, &ProposerMessage::Greeting(greeting));
    }

    fn on_disconnected(&mut self, connection: ConnectionId) {
        if let Some(index) = self.current_peer(connection) {
            self.peers[index].phase = Phase::Offline;
            self.after_peer_left();
        }
    }

    /// Gives a connection up; the next attempt waits for the timer.
    fn close(&mut self, index: usize, reason: CloseReason) {
        let connection = self.connection(index);
        self.peers[index].phase = Phase::Offline;
        self.act(Action::Disconnect { connection, reason });
        self.after_peer_left();
    }

    fn on_received(&mut self, now_ms: u64, connection: ConnectionId, payload: Bytes) {
        let Some(index) = self.current_peer(connection) else { return };
        self.peers[index].last_heard_ms = now_ms;
        let message = match AcceptorMessage::decode(payload) {
            Ok(message) => message,
            Err(error) => return self.close(index, CloseReason::Malformed(error)),
        };
        match (&self.peers[index].phase, message) {
            (Phase::Handshake, AcceptorMessage::Greeting(greeting)) => {
                self.on_greeting(index, &greeting);
            }
            (Phase::WaitVerdict, AcceptorMessage::VoteResponse(response)) => {
                self.on_vote(index, response);
            }
            (Phase::Active(_), AcceptorMessage::AppendResponse(response)) => {
                self.on_append_response(index, response);
            }
            (phase, _) => {
                let phase = phase.name();
                self.close(index, CloseReason::UnexpectedMessage { phase });
            }
        }
    }

    fn check_timers(&mut self, now_ms: u64) {
        self.close_silent(now_ms);
        let interval_ms = self.config.reconnect_interval_ms;
        if self.last_reconnect_ms.is_none_or(|last| now_ms >= last + interval_ms) {
            self.last_reconnect_ms = Some(now_ms);
            self.connect_offline(now_ms);
        }
        if now_ms >= self.last_heartbeat_ms + interval_ms {
            self.last_heartbeat_ms = now_ms;
            self.announce_to_active();
        }
        self.announce_commit_if_due(now_ms);
    }

    fn connect_offline(&mut self, now_ms: u64) {
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if peer.phase == Phase::Offline && !self.finished {
                peer.phase = Phase::Connecting;
                peer.attempt += 1;
                peer.last_heard_ms = now_ms;
                let connection = self.connection(index);
                self.act(Action::Connect(connection));
            }
        }
    }

    fn close_silent(&mut self, now_ms: u64) {
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            let silent_ms = now_ms.saturating_sub(peer.last_heard_ms);
            if peer.phase != Phase::Offline && silent_ms > self.config.connect_timeout_ms {
                self.close(index, CloseReason::Silent { silent_ms });
            }
        }
    }
}

#[cfg(test)]
mod tests;
