//! Metrics of redo: how long requests take and how much they apply.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Histogram, IntCounter, register_histogram, register_int_counter};

const SECONDS: [f64; 17] = [
    0.000_005, 0.000_010, 0.000_025, 0.000_050, 0.000_100, 0.000_250, 0.000_500, 0.001, 0.0025,
    0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0,
];
const RECORDS: [f64; 10] = [0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];
const BYTES: [f64; 22] = [
    24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 184.0, 256.0, 368.0, 512.0, 728.0, 1024.0, 1456.0, 2048.0,
    2904.0, 4096.0, 5800.0, 8192.0, 11592.0, 16384.0, 23176.0, 32768.0,
];

struct RedoMetrics {
    seconds: Histogram,
    records: Histogram,
    bytes: Histogram,
    replayed: IntCounter,
}

static METRICS: LazyLock<Result<RedoMetrics, metrics::prometheus::Error>> =
    LazyLock::new(RedoMetrics::register);

impl RedoMetrics {
    fn register() -> Result<Self, metrics::prometheus::Error> {
        Ok(RedoMetrics {
            seconds: register_histogram!(
                "pageserver_wal_redo_seconds",
                "Time spent on WAL redo",
                SECONDS.to_vec()
            )?,
            records: register_histogram!(
                "pageserver_wal_redo_records_histogram",
                "Histogram of number of records replayed per redo",
                RECORDS.to_vec()
            )?,
            bytes: register_histogram!(
                "pageserver_wal_redo_bytes_histogram",
                "Histogram of number of record bytes replayed per redo",
                BYTES.to_vec()
            )?,
            replayed: register_int_counter!(
                "pageserver_replayed_wal_records_total",
                "Number of WAL records replayed"
            )?,
        })
    }
}

/// Notes one reconstruction.
pub(super) fn observe(duration: Duration, records: usize, bytes: usize) {
    // Registration fails only if a name is taken, which the first scrape in a test would show.
    if let Ok(metrics) = METRICS.as_ref() {
        metrics.seconds.observe(duration.as_secs_f64());
        metrics.records.observe(records as f64);
        metrics.bytes.observe(bytes as f64);
        metrics.replayed.inc_by(records as u64);
    }
}
