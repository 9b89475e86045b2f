//! Client side of the PostgreSQL protocol: connect, authenticate, run simple queries, and hold
//! COPY streams in either or both directions, physical replication included.
//!
//! Speaks to stock PostgreSQL and to our own daemons, over TLS if asked to. Knows no SQL, no
//! retries and no pooling.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod auth;
mod client;
mod connect;
mod copy_both;
mod copy_in;
mod copy_out;
mod error;
mod row;
mod stream;

pub use client::Client;
pub use connect::{ConnectOptions, DEFAULT_CONNECT_TIMEOUT, ParseConnectOptionsError};
pub use copy_both::{CopyBoth, CopyReceiver, CopySender};
pub use copy_in::CopyIn;
pub use copy_out::CopyOut;
pub use error::Error;
pub use pq_proto::server_message::ServerReport;
pub use row::Row;
pub use tls::{ClientTls, SslMode};
