//! Message framing of PostgreSQL's frontend/backend protocol, and the payloads that travel
//! inside COPY streams between the daemons.
//!
//! Pure codecs: bytes in, values out. No I/O, no async, no clock, no state. Nothing here panics
//! on foreign bytes. The contract is described in `docs/formats/` under the page service and
//! the safekeeper protocol.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod backend;
pub mod client;
pub mod error;
pub mod feedback;
pub mod frontend;
pub mod replication;
pub mod server_message;
pub mod sqlstate;
pub mod startup;
pub mod timestamp;

mod framing;

pub use backend::{BeMessage, RowDescriptor};
pub use error::ProtocolError;
pub use feedback::PageserverFeedback;
pub use framing::MAX_MESSAGE_BYTES;
pub use frontend::FeMessage;
pub use replication::{
    HotStandbyFeedback, PrimaryKeepalive, StandbyMessage, StandbyReply, WalSenderMessage, XLogData,
};
pub use server_message::ServerMessage;
pub use startup::{StartupPacket, StartupParameters};
pub use timestamp::PgTimestamp;
