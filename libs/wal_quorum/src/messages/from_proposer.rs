//! Messages of the proposer, and how an acceptor reads them.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utils::{Lsn, TenantId, TimelineId};

use super::{
    MAX_APPEND_BYTES, MessageError, PROTOCOL_VERSION, TAG_APPEND, TAG_ELECTED, TAG_GREETING,
    TAG_VOTE, truncated,
};
use crate::term_history::{Term, TermHistory};
use crate::wire::{Reader, put_history};

/// 16 random bytes that identify one run of a proposer. For observation only:
/// no decision may depend on it. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ProposerUuid(pub [u8; 16]);

impl fmt::Display for ProposerUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ProposerUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ProposerUuid {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for ProposerUuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProposerUuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// First message of a session (80 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerGreeting {
    /// In PG_VERSION_NUM form, such as 150013.
    pub pg_version: u32,
    /// Which run of the proposer this is.
    pub proposer_uuid: ProposerUuid,
    /// The database's system identifier; 0 when it is not known (sync mode).
    pub system_id: u64,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// PostgreSQL's own timeline number, always 1.
    pub pg_timeline: u32,
    /// Bytes of a WAL segment.
    pub wal_seg_size: u32,
}

impl ProposerGreeting {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let version = reader.u32("protocol_version").map_err(truncated("ProposerGreeting"))?;
        if version != PROTOCOL_VERSION {
            return Err(MessageError::UnsupportedVersion(version));
        }
        Self::decode_fields(reader).map_err(truncated("ProposerGreeting"))
    }

    fn decode_fields(reader: &mut Reader) -> Result<Self, super::Truncated> {
        Ok(Self {
            pg_version: reader.u32("pg_version")?,
            proposer_uuid: ProposerUuid(reader.array("proposer_uuid")?),
            system_id: reader.u64("system_id")?,
            timeline_id: TimelineId::from_bytes(reader.array("timeline_id")?),
            tenant_id: TenantId::from_bytes(reader.array("tenant_id")?),
            pg_timeline: reader.u32("pg_timeline")?,
            wal_seg_size: reader.u32("wal_seg_size")?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_GREETING));
        out.put_u32_le(PROTOCOL_VERSION);
        out.put_u32_le(self.pg_version);
        out.put_slice(&self.proposer_uuid.0);
        out.put_u64_le(self.system_id);
        out.put_slice(self.timeline_id.as_bytes());
        out.put_slice(self.tenant_id.as_bytes());
        out.put_u32_le(self.pg_timeline);
        out.put_u32_le(self.wal_seg_size);
    }
}

/// Asks for the vote in `term` (32 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// The term the proposer runs for.
    pub term: Term,
    /// Written for old acceptors; readers ignore it and accept its absence.
    pub proposer_uuid: ProposerUuid,
}

impl VoteRequest {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let term = reader.u64("term").map_err(truncated("VoteRequest"))?;
        let proposer_uuid =
            reader.array("proposer_uuid").map_or_else(|_| Default::default(), ProposerUuid);
        Ok(Self { term, proposer_uuid })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_VOTE));
        out.put_u64_le(self.term);
        out.put_slice(&self.proposer_uuid.0);
    }
}

/// The proposer won; the acceptor's log is cut at `start_streaming_at`
/// (36 bytes + 16 per history entry).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerElected {
    /// The leader's term.
    pub term: Term,
    /// Where the acceptor's log stops being equal to the leader's.
    pub start_streaming_at: Lsn,
    /// The leader's history; its last entry is the leader's own term.
    pub term_history: TermHistory,
    /// Where the timeline's WAL begins globally; 0 when unknown.
    pub timeline_start_lsn: Lsn,
}

impl ProposerElected {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        Self::decode_fields(reader).map_err(truncated("ProposerElected"))
    }

    fn decode_fields(reader: &mut Reader) -> Result<Self, super::Truncated> {
        let term = reader.u64("term")?;
        let start_streaming_at = reader.lsn("start_streaming_at")?;
        let count = reader.u32("term_history length")?;
        Ok(Self {
            term,
            start_streaming_at,
            term_history: reader.history("term_history", u64::from(count))?,
            timeline_start_lsn: reader.lsn("timeline_start_lsn")?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_ELECTED));
        out.put_u64_le(self.term);
        out.put_u64_le(self.start_streaming_at.0);
        out.put_u32_le(self.term_history.0.len() as u32);
        put_history(out, &self.term_history);
        out.put_u64_le(self.timeline_start_lsn.0);
    }
}

/// Everything of an AppendRequest but the WAL (72 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequestHeader {
    /// The leader's term.
    pub term: Term,
    /// Where the leader's term begins; acceptors know it from ProposerElected.
    pub term_start_lsn: Lsn,
    /// Position of the first WAL byte.
    pub begin_lsn: Lsn,
    /// Position behind the last WAL byte; equal to `begin_lsn` in a heartbeat.
    pub end_lsn: Lsn,
    /// Committed so far.
    pub commit_lsn: Lsn,
    /// Flushed on all safekeepers so far.
    pub truncate_lsn: Lsn,
    /// Which run of the proposer this is.
    pub proposer_uuid: ProposerUuid,
}

impl AppendRequestHeader {
    /// How many bytes of WAL follow the header; 0 for an inverted range.
    pub fn wal_bytes(&self) -> u64 {
        self.end_lsn.saturating_sub(self.begin_lsn)
    }

    /// The header as it goes on the wire, tag included. The payload is this
    /// followed by the WAL, so a sender need not copy WAL to build it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(u64::from(TAG_APPEND));
        out.put_u64_le(self.term);
        out.put_u64_le(self.term_start_lsn.0);
        out.put_u64_le(self.begin_lsn.0);
        out.put_u64_le(self.end_lsn.0);
        out.put_u64_le(self.commit_lsn.0);
        out.put_u64_le(self.truncate_lsn.0);
        out.put_slice(&self.proposer_uuid.0);
    }

    fn decode(reader: &mut Reader) -> Result<Self, super::Truncated> {
        Ok(Self {
            term: reader.u64("term")?,
            term_start_lsn: reader.lsn("term_start_lsn")?,
            begin_lsn: reader.lsn("begin_lsn")?,
            end_lsn: reader.lsn("end_lsn")?,
            commit_lsn: reader.lsn("commit_lsn")?,
            truncate_lsn: reader.lsn("truncate_lsn")?,
            proposer_uuid: ProposerUuid(reader.array("proposer_uuid")?),
        })
    }
}

/// WAL for the acceptor, with the leader's view of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// Range and positions.
    pub header: AppendRequestHeader,
    /// The bytes `[begin_lsn, end_lsn)`.
    pub wal: Bytes,
}

impl AppendRequest {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, MessageError> {
        let header = AppendRequestHeader::decode(reader).map_err(truncated("AppendRequest"))?;
        let Some(length) = header.end_lsn.checked_sub(header.begin_lsn) else {
            return Err(MessageError::InvertedRange {
                begin: header.begin_lsn,
                end: header.end_lsn,
            });
        };
        if length > MAX_APPEND_BYTES {
            return Err(MessageError::TooLong(length));
        }
        let wal = reader.bytes("wal", length).map_err(truncated("AppendRequest"))?;
        Ok(Self { header, wal })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        self.header.encode(out);
        out.put_slice(&self.wal);
    }
}
