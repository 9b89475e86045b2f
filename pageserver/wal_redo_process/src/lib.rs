//! WAL redo in a process of its own: the protocol between the two sides, the side that applies
//! records ([`server`]), its sandbox, and the asynchronous client ([`RedoProcess`]).
//!
//! Protocol: docs/formats/wal-redo-protocol.md. PostgreSQL builds that were extended with a redo mode
//! speak it too, so that either side can be replaced. Nothing here knows tenants or keys.

mod client;
pub mod protocol;
pub mod sandbox;
pub mod server;

pub use client::{LaunchOptions, LaunchedProcess, RedoProcess, RedoProcessError};
