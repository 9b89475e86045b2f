//! Server side of the PostgreSQL protocol: handshake, authentication, the message loop and
//! COPY streams, for daemons that speak it to computes and to each other.
//!
//! Owns the socket and the conversation's state. Knows no command: a [`Handler`] runs them and
//! checks tokens. With a certificate the connection is encrypted before anything is said on it;
//! without, requests for encryption are answered "no".

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod backend;
mod copy;
mod error;
mod handler;
mod message_loop;
mod socket;
mod stream;

pub use backend::{AuthType, DEFAULT_READ_TIMEOUT, PostgresBackend};
pub use copy::{CopyOutWriter, CopyStreamEnd};
pub use error::{ConnectionError, QueryError, is_expected_io_error};
pub use handler::Handler;
pub use pq_proto::{BeMessage, FeMessage, RowDescriptor, StartupParameters};
pub use stream::{BackendReader, BackendWriter};
