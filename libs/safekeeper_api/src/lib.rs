//! The safekeeper's HTTP API: the shapes of its bodies and a client for it.
//!
//! Shared by the safekeeper and everything that talks to it. Holds no server code and no
//! consensus type: the storage format and the proposer protocol live elsewhere.

pub mod client;
pub mod models;

/// Port of the management API when none is configured.
pub const DEFAULT_HTTP_PORT: u16 = 7676;
/// Port of the WAL service when none is configured.
pub const DEFAULT_PG_PORT: u16 = 5454;
