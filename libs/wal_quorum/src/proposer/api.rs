//! What a driver and a [`Proposer`](super::Proposer) say to each other.

use bytes::Bytes;
use utils::{Lsn, TenantId, TimelineId};

use super::PageserverProgress;
use crate::messages::{
    AppendRequestHeader, HotStandbyFeedback, MAX_APPEND_BYTES, MessageError, ProposerUuid,
};
use crate::term_history::{HistoryConflict, HistoryError, Term};

/// Greatest number of safekeepers of one timeline.
pub const MAX_SAFEKEEPERS: usize = 31;

/// What the proposer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Streams the WAL of a running database.
    Stream {
        /// Where the database's WAL continues: the basebackup's LSN.
        redo_start_lsn: Lsn,
        /// The term in which this very data directory was last streamed from,
        /// [`crate::INVALID_TERM`] if it is fresh from a basebackup.
        last_elected_term: Term,
    },
    /// Agrees on the end of the WAL and commits it, then ends.
    Sync,
}

/// Everything a proposer is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerConfig {
    /// What to do.
    pub mode: Mode,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// The database's system identifier; 0 in sync mode.
    pub system_id: u64,
    /// In PG_VERSION_NUM form, such as 150013.
    pub pg_version: u32,
    /// Bytes of a WAL segment.
    pub wal_seg_size: u32,
    /// Random bytes that tell runs apart in logs.
    pub proposer_uuid: ProposerUuid,
    /// How many safekeepers there are. They are named by index; which index is
    /// which address is the driver's knowledge.
    pub safekeeper_count: usize,
    /// Pause between attempts to reach offline safekeepers, and between heartbeats.
    pub reconnect_interval_ms: u64,
    /// A connection without a message for longer than this is closed.
    pub connect_timeout_ms: u64,
    /// Greatest number of WAL bytes in one message.
    pub max_append_bytes: u64,
}

impl ProposerConfig {
    /// Default of `reconnect_interval_ms`.
    pub const RECONNECT_INTERVAL_MS: u64 = 1_000;
    /// Default of `connect_timeout_ms`.
    pub const CONNECT_TIMEOUT_MS: u64 = 10_000;

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.safekeeper_count == 0 || self.safekeeper_count > MAX_SAFEKEEPERS {
            return Err(ConfigError::SafekeeperCount(self.safekeeper_count));
        }
        if self.reconnect_interval_ms == 0 {
            return Err(ConfigError::ZeroInterval);
        }
        if self.max_append_bytes == 0 || self.max_append_bytes > MAX_APPEND_BYTES {
            return Err(ConfigError::AppendSize(self.max_append_bytes));
        }
        if self.wal_seg_size == 0 {
            return Err(ConfigError::ZeroSegmentSize);
        }
        Ok(())
    }
}

/// A configuration no proposer can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None, or too many.
    #[error("{0} safekeepers are configured, allowed are 1 to {MAX_SAFEKEEPERS}")]
    SafekeeperCount(usize),
    /// The pace of reconnects and heartbeats is zero.
    #[error("the reconnect interval must be at least 1 ms")]
    ZeroInterval,
    /// The message size limit is not possible.
    #[error("messages of up to {0} bytes are configured, allowed are 1 to {MAX_APPEND_BYTES}")]
    AppendSize(u64),
    /// The database's segment size is missing.
    #[error("the WAL segment size is 0")]
    ZeroSegmentSize,
}

/// One attempt to talk to one safekeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Index of the safekeeper, below [`ProposerConfig::safekeeper_count`].
    pub safekeeper: usize,
    /// Number of the attempt, from 1.
    pub attempt: u64,
}

/// What happened to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passed.
    Tick,
    /// `START_WAL_PUSH` was accepted.
    Connected(ConnectionId),
    /// The connection could not be made, ended, or was closed by the driver
    /// because WAL for it could not be had.
    Disconnected(ConnectionId),
    /// A CopyData payload arrived.
    Received {
        /// From where.
        connection: ConnectionId,
        /// The payload.
        payload: Bytes,
    },
    /// The last [`Action::SendWal`] of this connection was handed to the transport.
    WalSent(ConnectionId),
    /// The database has flushed its WAL up to `end_lsn`.
    WalAvailable {
        /// End of what can be sent.
        end_lsn: Lsn,
    },
    /// Of the database's WAL, [`WalSource::Local`] no longer has what is below `start_lsn`.
    LocalWindow {
        /// First position still there.
        start_lsn: Lsn,
    },
}

/// Where the bytes of an [`Action::SendWal`] are to be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalSource {
    /// The driver's own window (also for messages without bytes).
    Local,
    /// The database, which still has it: below the window but not committed,
    /// so its replication slot retains it.
    Database,
    /// Another safekeeper:
    /// `START_REPLICATION PHYSICAL <begin_lsn> (term='<term>')`.
    Donor {
        /// Index of the safekeeper.
        safekeeper: usize,
        /// Our term; naming it guarantees that the bytes are of our history.
        term: Term,
    },
}

/// The result of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The term won.
    pub term: Term,
    /// Where the term begins: WAL below is on the safekeepers, WAL from here
    /// on comes from the database.
    pub epoch_start_lsn: Lsn,
    /// The safekeeper with the newest log.
    pub donor: usize,
    /// Term of the donor's last WAL.
    pub donor_last_log_term: Term,
    /// Where the donor's last term begins.
    pub donor_last_log_lsn: Lsn,
    /// What is known to be flushed everywhere.
    pub truncate_lsn: Lsn,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a connection.
    Connect(ConnectionId),
    /// Close a connection; what is queued for it may be dropped.
    Disconnect {
        /// Which one.
        connection: ConnectionId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Send a payload.
    Send {
        /// To where.
        connection: ConnectionId,
        /// One CopyData payload.
        payload: Bytes,
    },
    /// Send an AppendRequest, then report [`Event::WalSent`].
    SendWal {
        /// To where.
        connection: ConnectionId,
        /// Its header, naming the range; the range may be empty.
        header: AppendRequestHeader,
        /// Where the bytes are.
        source: WalSource,
    },
    /// The election is won. In stream mode: store the term durably if the data
    /// directory is to be reused, then start reading the database's WAL at
    /// `epoch_start_lsn`.
    Elected(Election),
    /// WAL up to here is durable on a quorum: release commits.
    Committed {
        /// The commit position.
        lsn: Lsn,
    },
    /// The pageservers' progress changed.
    PageserverFeedback(PageserverProgress),
    /// What standbys need changed.
    HotStandbyFeedback(HotStandbyFeedback),
    /// Sync mode is done: everything up to `lsn` is committed, and safekeepers
    /// know. Send what is queued, then end.
    Synced {
        /// The agreed end of the WAL; 0 for an empty timeline.
        lsn: Lsn,
    },
    /// This proposer cannot go on.
    Fatal(FatalError),
}

/// Why the proposer closed a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// Nothing was heard.
    #[error("no messages received during the last {silent_ms} ms")]
    Silent {
        /// For how long.
        silent_ms: u64,
    },
    /// The payload is no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] MessageError),
    /// A message of another phase.
    #[error("unexpected message in phase {phase}")]
    UnexpectedMessage {
        /// The phase.
        phase: &'static str,
    },
    /// The safekeeper answered in a term below the one it was asked in.
    #[error("answer of term {response} to a message of term {ours}")]
    TermWentBack {
        /// In the answer.
        response: Term,
        /// Of this proposer.
        ours: Term,
    },
    /// The safekeeper's history is impossible.
    #[error("invalid term history: {0}")]
    InvalidHistory(#[from] HistoryError),
    /// The safekeeper's history contradicts the leader's.
    #[error("{0}")]
    HistoryConflict(#[from] HistoryConflict),
    /// The safekeeper claims WAL of a term at or above ours before we were elected.
    #[error("log ends in term {last_log_term}, which is not below the requested {ours}")]
    FutureLog {
        /// Last term of its log.
        last_log_term: Term,
        /// Of this proposer.
        ours: Term,
    },
    /// A durable position fell within one connection.
    #[error("flushed position went back from {from} to {to}")]
    FlushWentBack {
        /// Reported before.
        from: Lsn,
        /// Reported now.
        to: Lsn,
    },
}

/// Why the proposer gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatalError {
    /// A safekeeper has heard of a newer proposer.
    #[error(
        "safekeeper {safekeeper} rejects our connection request with term {term}, ours is {ours}"
    )]
    HigherTerm {
        /// Index of the safekeeper.
        safekeeper: usize,
        /// Its term.
        term: Term,
        /// Ours.
        ours: Term,
    },
    /// The vote went to another proposer of the same term.
    #[error("safekeeper {safekeeper} refused to vote for term {term}")]
    VoteRefused {
        /// Index of the safekeeper.
        safekeeper: usize,
        /// The term asked for.
        term: Term,
    },
    /// The database does not continue where the quorum's WAL ends.
    #[error("collected epoch start {epoch_start_lsn}, but basebackup LSN {redo_start_lsn}")]
    BasebackupMismatch {
        /// End of the quorum's WAL.
        epoch_start_lsn: Lsn,
        /// Where the database's WAL would continue.
        redo_start_lsn: Lsn,
    },
    /// Somebody else was elected while we were streaming.
    #[error("safekeeper {safekeeper} is in term {term}, ours is {ours}: another proposer writes")]
    Superseded {
        /// Index of the safekeeper.
        safekeeper: usize,
        /// Its term.
        term: Term,
        /// Ours.
        ours: Term,
    },
}

impl FatalError {
    /// Whether the database must be killed (not shut down) and its data
    /// directory discarded: it may hold WAL that is not, and never will be,
    /// part of the timeline. Otherwise a new proposer may simply try again; the
    /// basebackup check decides then.
    pub fn discards_data_directory(&self) -> bool {
        match self {
            Self::HigherTerm { .. } | Self::VoteRefused { .. } => false,
            Self::BasebackupMismatch { .. } | Self::Superseded { .. } => true,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Sync mode agreed on this position.
    Synced(Lsn),
    /// It gave up.
    Fatal(FatalError),
}

/// The world as a driving loop needs it. Drivers are free to be shaped
/// otherwise; the example in the module documentation uses this shape.
pub trait Transport {
    /// Milliseconds of a clock that does not go back.
    fn now_ms(&self) -> u64;
    /// Starts carrying out an action that is not the last.
    fn carry_out(&mut self, action: Action);
    /// The next event, `None` once the time has come.
    fn next_event(&mut self, wakeup_ms: u64) -> Option<Event>;
}
