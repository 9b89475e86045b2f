//! What the proposer knows about one safekeeper.

use utils::{Lsn, NodeId};

use crate::messages::{AppendResponse, VoteResponse};
use crate::term_history::Term;

/// Where the conversation is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// With so many messages unanswered one is being synced and another is next.
const BUSY_AT: u32 = 2;

/// How far streaming to one safekeeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    /// Next byte to send.
    pub(super) next_lsn: Lsn,
    /// The driver has not yet reported the last message as sent.
    pub(super) sending: bool,
    /// Positions are to be told even if there is no WAL to send.
    pub(super) announce: bool,
    /// The commit position it was told last.
    pub(super) told_commit_lsn: Lsn,
    /// Messages with WAL that wait for an answer, counted up to [`BUSY_AT`]. One answer may be for
    /// several of them, so this can be too high by what was synced together. It is never at the
    /// limit with nothing under way: it does not go beyond, and the last answer took it below.
    pub(super) unanswered: u32,
}

impl Stream {
    /// A stream on which nothing was sent yet.
    pub(super) fn starting_at(next_lsn: Lsn) -> Self {
        Self {
            next_lsn,
            sending: false,
            announce: true,
            told_commit_lsn: Lsn::INVALID,
            unanswered: 0,
        }
    }

    /// Notes a message that was sent.
    pub(super) fn note_sent(&mut self, end_lsn: Lsn, commit_lsn: Lsn) {
        if end_lsn > self.next_lsn {
            self.unanswered = (self.unanswered + 1).min(BUSY_AT);
        }
        self.next_lsn = end_lsn;
        self.sending = true;
        self.announce = false;
        self.told_commit_lsn = commit_lsn;
    }

    /// Notes an answer.
    pub(super) fn note_answer(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Whether one message is being synced and another is next, so that whatever comes after
    /// them can as well gather here. The position in an answer does not tell: it stays where
    /// it is while a record is longer than a message.
    pub(super) fn is_busy(&self) -> bool {
        self.unanswered >= BUSY_AT
    }
}

/// One safekeeper.
#[derive(Clone, Debug)]
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
