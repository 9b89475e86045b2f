//! Messages of the acceptor, and how a proposer reads them.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::{BufMut, BytesMut};
use pq_proto::PageserverFeedback;
use utils::{Lsn, NodeId};

use super::{MessageError, TAG_APPEND, TAG_GREETING, TAG_VOTE, expect_end, truncated};
use crate::term_history::{Term, TermHistory};
use crate::wire::{Reader, put_history};

/// Answer to a greeting (24 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptorGreeting {
    /// The acceptor's current term.
    pub term: Term,
    /// Which safekeeper this is.
    pub node_id: NodeId,
}

impl AcceptorGreeting {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let fields = |reader: &mut Reader| {
            Ok(Self { term: reader.u64("term")?, node_id: NodeId(reader.u64("node_id")?) })
        };
        let message = fields(reader).map_err(truncated("AcceptorGreeting"))?;
        expect_end("AcceptorGreeting", reader)?;
        Ok(message)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_GREETING));
        out.put_u64_le(self.term);
        out.put_u64_le(self.node_id.0);
    }
}

/// Answer to a vote request (52 bytes + 16 per history entry). A refusal
/// carries the same facts as a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteResponse {
    /// The acceptor's term after handling the request.
    pub term: Term,
    /// Whether the vote was given.
    pub vote_given: bool,
    /// End of the durable log.
    pub flush_lsn: Lsn,
    /// What the acceptor knows to be flushed everywhere.
    pub truncate_lsn: Lsn,
    /// History of the log up to `flush_lsn`.
    pub term_history: TermHistory,
    /// Where the timeline's WAL begins; 0 when unknown.
    pub timeline_start_lsn: Lsn,
}

impl VoteResponse {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let term = reader.u64("term").map_err(truncated("VoteResponse"))?;
        let vote_given = match reader.u64("vote_given").map_err(truncated("VoteResponse"))? {
            0 => false,
            1 => true,
            value => return Err(MessageError::InvalidFlag { field: "vote_given", value }),
        };
        let fields = |reader: &mut Reader| {
            let flush_lsn = reader.lsn("flush_lsn")?;
            let truncate_lsn = reader.lsn("truncate_lsn")?;
            let count = reader.u32("term_history length")?;
            Ok(Self {
                term,
                vote_given,
                flush_lsn,
                truncate_lsn,
                term_history: reader.history("term_history", u64::from(count))?,
                timeline_start_lsn: reader.lsn("timeline_start_lsn")?,
            })
        };
        let message = fields(reader).map_err(truncated("VoteResponse"))?;
        expect_end("VoteResponse", reader)?;
        Ok(message)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_VOTE));
        out.put_u64_le(self.term);
        out.put_u64_le(u64::from(self.vote_given));
        out.put_u64_le(self.flush_lsn.0);
        out.put_u64_le(self.truncate_lsn.0);
        out.put_u32_le(self.term_history.0.len() as u32);
        put_history(out, &self.term_history);
        out.put_u64_le(self.timeline_start_lsn.0);
    }
}

/// What hot standbys still need, aggregated by the safekeeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HotStandbyFeedback {
    /// Microseconds since 2000-01-01 UTC; 0 when nothing is known.
    pub ts: i64,
    /// Oldest needed transaction, epoch in the high half; 0 is none.
    pub xmin: u64,
    /// The same for catalog rows.
    pub catalog_xmin: u64,
}

/// What the acceptor has on disk (56 bytes + optional feedback).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendResponse {
    /// The acceptor's term. Above the proposer's: somebody else was elected,
    /// and all other fields are empty.
    pub term: Term,
    /// End of the durable log.
    pub flush_lsn: Lsn,
    /// The commit position in the control file on disk, which may be behind
    /// the one in memory.
    pub commit_lsn: Lsn,
    /// What standbys reported.
    pub hs_feedback: HotStandbyFeedback,
    /// A pageserver's progress, in some messages.
    pub pageserver_feedback: Option<PageserverFeedback>,
}

impl AppendResponse {
    /// The answer to a proposer of a bygone term.
    pub fn term_only(term: Term) -> Self {
        Self { term, ..Self::default() }
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let fields = |reader: &mut Reader| {
            Ok(Self {
                term: reader.u64("term")?,
                flush_lsn: reader.lsn("flush_lsn")?,
                commit_lsn: reader.lsn("commit_lsn")?,
                hs_feedback: HotStandbyFeedback {
                    ts: reader.i64("hs_feedback.ts")?,
                    xmin: reader.u64("hs_feedback.xmin")?,
                    catalog_xmin: reader.u64("hs_feedback.catalog_xmin")?,
                },
                pageserver_feedback: None,
            })
        };
        let mut message = fields(reader).map_err(truncated("AppendResponse"))?;
        if reader.remaining() > 0 {
            message.pageserver_feedback = Some(PageserverFeedback::parse(reader.take_rest())?);
        }
        Ok(message)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_APPEND));
        out.put_u64_le(self.term);
        out.put_u64_le(self.flush_lsn.0);
        out.put_u64_le(self.commit_lsn.0);
        out.put_i64_le(self.hs_feedback.ts);
        out.put_u64_le(self.hs_feedback.xmin);
        out.put_u64_le(self.hs_feedback.catalog_xmin);
        if let Some(feedback) = &self.pageserver_feedback {
            feedback.write(out);
        }
    }
}
