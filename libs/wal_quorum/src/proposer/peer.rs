//! What the proposer knows about one safekeeper.

use utils::{Lsn, NodeId};

use crate::messages::{AppendResponse, VoteResponse};
use crate::term_history::Term;

/// Where the conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No connection; the timer will try.
    Offline,
    /// The driver is connecting.
    Connecting,
    /// Our greeting is sent.
    Handshake,
    /// Greeted; a quorum of greetings is missing.
    Voting,
    /// The vote is asked for.
    WaitVerdict,
    /// Voted; a quorum of votes is missing.
    Idle,
    /// The election was announced on this connection.
    Active(Stream),
}

impl Phase {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Voting => "voting",
            Self::WaitVerdict => "wait-for-verdict",
            Self::Idle => "idle",
            Self::Active(_) => "active",
        }
    }
}

/// How far streaming to one safekeeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Next byte to send.
    pub(super) next_lsn: Lsn,
    /// The driver has not yet reported the last message as sent.
    pub(super) sending: bool,
    /// Positions are to be told even if there is no WAL to send.
    pub(super) announce: bool,
    /// The commit position it was told last.
    pub(super) told_commit_lsn: Lsn,
    /// Where the last two messages with WAL ended, older first.
    pub(super) message_ends: [Lsn; 2],
}

impl Stream {
    /// A stream on which nothing was sent yet.
    pub(super) fn starting_at(next_lsn: Lsn) -> Self {
        Self {
            next_lsn,
            sending: false,
            announce: true,
            told_commit_lsn: Lsn::INVALID,
            message_ends: [Lsn::INVALID; 2],
        }
    }

    /// Notes a message that was sent.
    pub(super) fn note_sent(&mut self, end_lsn: Lsn, commit_lsn: Lsn) {
        if end_lsn > self.next_lsn {
            self.message_ends = [self.message_ends[1], end_lsn];
        }
        self.next_lsn = end_lsn;
        self.sending = true;
        self.announce = false;
        self.told_commit_lsn = commit_lsn;
    }

    /// Whether two messages with WAL wait for the disk behind `flush_lsn`: one is being synced
    /// and the other is next, so whatever comes after them can as well gather here.
    pub(super) fn is_busy(&self, flush_lsn: Lsn) -> bool {
        flush_lsn < self.message_ends[0]
    }
}

/// One safekeeper.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) phase: Phase,
    /// Number of the current or last connection.
    pub(super) attempt: u64,
    pub(super) last_heard_ms: u64,
    /// Known since the first greeting.
    pub(super) node_id: Option<NodeId>,
    /// The term of its last greeting; `Some` counts for the quorum of greetings.
    pub(super) greeted_term: Option<Term>,
    /// The position of a vote that was given to us; `Some` counts for the
    /// quorum of votes. It stays valid after a disconnect, because a
    /// safekeeper in our term accepts nothing but what we send.
    pub(super) vote: Option<VoteResponse>,
    /// What it said last about its disk; survives reconnects.
    pub(super) last_response: AppendResponse,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Offline,
            attempt: 0,
            last_heard_ms: 0,
            node_id: None,
            greeted_term: None,
            vote: None,
            last_response: AppendResponse::default(),
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active(_))
    }
}
