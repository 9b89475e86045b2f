//! Fetches a timeline's WAL from safekeepers and ingests it.
//!
//! Per timeline one manager listens to the broker, chooses a safekeeper and keeps at most one
//! connection. Which one is decided in [`candidates`], without I/O; what a connection does is
//! in [`connection`]. The timeline is known only through [`ReceiverTimeline`].

pub mod candidates;
mod connection;
mod feedback;
mod manager;
mod metrics;
mod silence;
mod status;
mod timeline;

use std::num::NonZeroU64;
use std::time::Duration;

use postgres_client::ClientTls;

pub use connection::ConnectionError;
pub use manager::WalReceiver;
pub use status::{ReceivedWal, WalReceiverStatus};
pub use timeline::{PersistedPositions, ReceiverTimeline};

/// Settings of one timeline's receiver.
#[derive(Clone, Debug)]
pub struct WalReceiverConfig {
    /// Limit for connecting, and for silence on a connection (`walreceiver_connect_timeout`).
    pub connect_timeout: Duration,
    /// How long a safekeeper may be silent or without progress (`lagging_wal_timeout`).
    pub lagging_wal_timeout: Duration,
    /// A safekeeper that is this many bytes ahead is preferred (`max_lsn_wal_lag`).
    pub max_lsn_wal_lag_bytes: NonZeroU64,
    /// Records that are committed together (`ingest_batch_size`).
    pub ingest_batch_size: u64,
    /// Safekeepers in this zone are preferred.
    pub availability_zone: Option<String>,
    /// Sent to safekeepers as password.
    pub auth_token: Option<String>,
    /// How connections to safekeepers are encrypted (`walreceiver_sslmode`).
    pub tls: ClientTls,
}

#[cfg(test)]
mod tests;
