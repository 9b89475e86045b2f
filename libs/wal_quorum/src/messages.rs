//! The proposer-acceptor protocol, version 2: what travels inside the CopyData
//! messages of a `START_WAL_PUSH` session (docs/formats/proposer-acceptor-protocol.md).
//!
//! One payload is one message. All integers are little-endian, except inside
//! the pageserver feedback, whose codec is `pq_proto`'s.
//!
//! The two directions differ in strictness, and both are part of the contract:
//! acceptors look at the low byte of the tag only and ignore bytes behind the
//! fields they know, proposers compare the whole tag and refuse surplus bytes.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod from_acceptor;
mod from_proposer;

use bytes::{Bytes, BytesMut};
use utils::Lsn;

use crate::wire::Reader;
pub use crate::wire::Truncated;
pub use from_acceptor::{AcceptorGreeting, AppendResponse, HotStandbyFeedback, VoteResponse};
pub use from_proposer::{
    AppendRequest, AppendRequestHeader, ProposerElected, ProposerGreeting, ProposerUuid,
    VoteRequest,
};

/// The only protocol version there is.
pub const PROTOCOL_VERSION: u32 = 2;
/// Greatest number of WAL bytes in one AppendRequest.
pub const MAX_APPEND_BYTES: u64 = 16 * 8192;

const TAG_GREETING: u8 = b'g';
const TAG_VOTE: u8 = b'v';
const TAG_ELECTED: u8 = b'e';
const TAG_APPEND: u8 = b'a';

/// Why a payload is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The payload is too short.
    #[error("cannot read {message}: {source}")]
    Truncated {
        /// Which message was being read.
        message: &'static str,
        /// Where it ended.
        source: Truncated,
    },
    /// No message has this tag.
    #[error("unknown proposer-acceptor message tag {0:#x}")]
    UnknownTag(u64),
    /// The greeting is of another protocol.
    #[error("protocol version {0} is not supported, only {PROTOCOL_VERSION} is")]
    UnsupportedVersion(u32),
    /// An AppendRequest whose range runs backwards.
    #[error("AppendRequest begins at {begin} but ends before it, at {end}")]
    InvertedRange {
        /// First byte.
        begin: Lsn,
        /// End of the range.
        end: Lsn,
    },
    /// An AppendRequest above the size limit.
    #[error("AppendRequest of {0} bytes is above the limit of {MAX_APPEND_BYTES}")]
    TooLong(u64),
    /// A message to a proposer must end with its last field.
    #[error("{surplus} bytes follow the last field of {message}")]
    Surplus {
        /// Which message was read.
        message: &'static str,
        /// How many bytes were left over.
        surplus: usize,
    },
    /// The pageserver feedback inside an AppendResponse is malformed.
    #[error("cannot read the pageserver feedback of AppendResponse: {0}")]
    Feedback(#[from] pq_proto::ProtocolError),
    /// A flag that is neither 0 nor 1.
    #[error("{field} is {value}, expected 0 or 1")]
    InvalidFlag {
        /// Which field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
}

fn truncated(message: &'static str) -> impl Fn(Truncated) -> MessageError {
    move |source| MessageError::Truncated { message, source }
}

/// What a proposer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposerMessage {
    /// Opens the session; creates the timeline where it is missing.
    Greeting(ProposerGreeting),
    /// Asks for the vote.
    VoteRequest(VoteRequest),
    /// Announces the election and where the log of this acceptor is cut.
    Elected(ProposerElected),
    /// Carries WAL, or nothing but positions.
    AppendRequest(AppendRequest),
}

impl ProposerMessage {
    /// Reads one payload as an acceptor does. WAL bytes share `payload`'s memory.
    pub fn decode(payload: Bytes) -> Result<Self, MessageError> {
        let mut reader = Reader::new(payload);
        let tag = reader.u64("tag").map_err(truncated("proposer message"))?;
        match tag.to_le_bytes() {
            [TAG_GREETING, ..] => ProposerGreeting::decode(&mut reader).map(Self::Greeting),
            [TAG_VOTE, ..] => VoteRequest::decode(&mut reader).map(Self::VoteRequest),
            [TAG_ELECTED, ..] => ProposerElected::decode(&mut reader).map(Self::Elected),
            [TAG_APPEND, ..] => AppendRequest::decode(&mut reader).map(Self::AppendRequest),
            _ => Err(MessageError::UnknownTag(tag)),
        }
    }

    /// The payload, ready for a CopyData message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Greeting(message) => message.encode(&mut out),
            Self::VoteRequest(message) => message.encode(&mut out),
            Self::Elected(message) => message.encode(&mut out),
            Self::AppendRequest(message) => message.encode(&mut out),
        }
        out.freeze()
    }
}

/// What an acceptor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptorMessage {
    /// Its term and identity.
    Greeting(AcceptorGreeting),
    /// Its vote and what its log holds.
    VoteResponse(VoteResponse),
    /// What it has on disk.
    AppendResponse(AppendResponse),
}

impl AcceptorMessage {
    /// Reads one payload as a proposer does: the tag and the length must match exactly.
    pub fn decode(payload: Bytes) -> Result<Self, MessageError> {
        let mut reader = Reader::new(payload);
        let tag = reader.u64("tag").map_err(truncated("acceptor message"))?;
        match u8::try_from(tag) {
            Ok(TAG_GREETING) => AcceptorGreeting::decode(&mut reader).map(Self::Greeting),
            Ok(TAG_VOTE) => VoteResponse::decode(&mut reader).map(Self::VoteResponse),
            Ok(TAG_APPEND) => AppendResponse::decode(&mut reader).map(Self::AppendResponse),
            Ok(_) | Err(_) => Err(MessageError::UnknownTag(tag)),
        }
    }

    /// The payload, ready for a CopyData message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Greeting(message) => message.encode(&mut out),
            Self::VoteResponse(message) => message.encode(&mut out),
            Self::AppendResponse(message) => message.encode(&mut out),
        }
        out.freeze()
    }
}

fn expect_end(message: &'static str, reader: &Reader) -> Result<(), MessageError> {
    match reader.remaining() {
        0 => Ok(()),
        surplus => Err(MessageError::Surplus { message, surplus }),
    }
}

#[cfg(test)]
mod tests;
