//! Counters of WAL ingest, over all timelines.

use std::sync::LazyLock;

use metrics::{IntCounter, register_int_counter};

/// Counters of WAL ingest.
#[derive(Debug)]
pub struct WalIngestMetrics {
    /// Bytes of WAL received from safekeepers.
    pub bytes_received: IntCounter,
    /// Records decoded.
    pub records_received: IntCounter,
    /// Records that changed something here.
    pub records_committed: IntCounter,
    /// Records that changed nothing here.
    pub records_filtered: IntCounter,
}

/// The process's counters.
pub static WAL_INGEST: LazyLock<WalIngestMetrics> = LazyLock::new(|| WalIngestMetrics {
    bytes_received: counter(
        "pageserver_wal_ingest_bytes_received",
        "Bytes of WAL ingested from safekeepers",
    ),
    records_received: counter(
        "pageserver_wal_ingest_records_received",
        "Number of WAL records received from safekeepers",
    ),
    records_committed: counter(
        "pageserver_wal_ingest_records_committed",
        "Number of WAL records which resulted in writes to pageserver storage",
    ),
    records_filtered: counter(
        "pageserver_wal_ingest_records_filtered",
        "Number of WAL records filtered out due to sharding",
    ),
});

fn counter(name: &str, help: &str) -> IntCounter {
    register_int_counter!(name, help).expect("metric names are unique and valid")
}
