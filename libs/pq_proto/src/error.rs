//! Everything that can be wrong with the bytes of a peer.

/// The peer broke the protocol. The connection cannot be used any further, because the
/// position of the next message is unknown or meaningless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The length word of a startup packet is outside 8..=10000.
    #[error(
        "invalid startup packet message length {0}: expected 8..=10000 (is the peer speaking the PostgreSQL protocol?)"
    )]
    StartupLength(u32),
    /// A special startup request with an unknown code.
    #[error("Unrecognized request code {0}")]
    UnknownRequestCode(u16),
    /// A message length below the four bytes of the length word itself.
    #[error("invalid message length {0}")]
    MessageLength(u32),
    /// A message longer than this implementation accepts.
    #[error("invalid message length {length}: messages of more than {limit} bytes are refused")]
    MessageTooLong {
        /// Announced by the peer.
        length: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// The first byte of a message names no known kind.
    #[error("unknown message tag: {tag},{body:02x?}")]
    UnknownTag {
        /// The byte received.
        tag: u8,
        /// The beginning of the body, for diagnosis.
        body: Vec<u8>,
    },
    /// A protocol feature that this side does not offer.
    #[error("{0} not implemented")]
    NotImplemented(&'static str),
    /// A string whose terminating NUL is missing.
    #[error("missing cstring terminator in {0}")]
    MissingTerminator(&'static str),
    /// A string that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    /// The body ended before its last field, or has a field out of range.
    #[error("malformed {message}: {reason}")]
    Malformed {
        /// The kind of message.
        message: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A valid message that makes no sense at this point of the conversation.
    #[error("unexpected message type: {0}")]
    Unexpected(String),
    /// A value that this side wanted to send but that has no encoding.
    #[error("cannot encode {message}: {reason}")]
    Unencodable {
        /// The kind of message.
        message: &'static str,
        /// Why it has no encoding.
        reason: &'static str,
    },
}

impl ProtocolError {
    /// A body that ended too early.
    pub(crate) fn truncated(message: &'static str) -> Self {
        Self::Malformed { message, reason: "it ends before its last field".to_owned() }
    }

    /// A body with something wrong in it.
    pub(crate) fn malformed(message: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed { message, reason: reason.into() }
    }
}
