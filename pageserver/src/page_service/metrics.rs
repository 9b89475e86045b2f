//! Metrics of the page service.

use std::sync::LazyLock;

use metrics::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};

/// Buckets of requests of all timelines together, in microseconds.
fn fine_buckets() -> Vec<f64> {
    let mut micros: Vec<u64> = vec![1, 10, 20, 40, 60, 80];
    micros.extend((100..1_000).step_by(100));
    micros.extend([1_000, 2_000, 4_000, 6_000, 8_000, 10_000, 20_000, 40_000, 60_000, 80_000]);
    micros.extend([100_000, 200_000, 400_000, 600_000, 800_000]);
    micros.extend([1, 2, 4, 6, 8, 10, 20, 50, 100, 200, 1_000].map(|s| s * 1_000_000));
    micros.into_iter().map(|micros| micros as f64 / 1e6).collect()
}

/// Buckets of requests per timeline.
const COARSE_BUCKETS: [f64; 9] =
    [0.000_001, 0.000_010, 0.000_100, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0];

const BASEBACKUP_BUCKETS_MS: [u32; 27] = [
    5, 10, 20, 30, 50, 70, 100, 120, 150, 200, 250, 300, 350, 400, 450, 500, 600, 800, 1000, 1500,
    2000, 2500, 3000, 5000, 10_000, 20_000, 40_000,
];

/// What the page service counts and times.
pub(super) struct PageServiceMetrics {
    /// Requests of all timelines, by type.
    pub requests: HistogramVec,
    /// Page reads, by timeline.
    pub timeline_requests: HistogramVec,
    /// Base backups, by result.
    pub basebackups: HistogramVec,
    /// Commands, by name.
    pub commands: IntCounterVec,
    /// Connections begun, by kind.
    pub connections_started: IntCounterVec,
    /// Connections ended, by kind.
    pub connections_finished: IntCounterVec,
}

/// `None` if a name was taken by somebody else, which only a programming error can cause; the
/// service then works without metrics.
pub(super) static METRICS: LazyLock<Option<PageServiceMetrics>> =
    LazyLock::new(|| match PageServiceMetrics::register() {
        Ok(metrics) => Some(metrics),
        Err(error) => {
            tracing::error!("page service metrics are not available: {error}");
            None
        }
    });

impl PageServiceMetrics {
    fn register() -> Result<Self, metrics::prometheus::Error> {
        let mut basebackup_buckets: Vec<f64> =
            BASEBACKUP_BUCKETS_MS.iter().map(|ms| f64::from(*ms) / 1000.0).collect();
        basebackup_buckets.push(60.0);
        Ok(PageServiceMetrics {
            requests: register_histogram_vec!(
                "pageserver_smgr_query_seconds_global",
                "Time spent on smgr query handling, aggregated by query type",
                &["smgr_query_type"],
                fine_buckets()
            )?,
            timeline_requests: register_histogram_vec!(
                "pageserver_smgr_query_seconds",
                "Time spent on smgr query handling, by timeline",
                &["smgr_query_type", "tenant_id", "shard_id", "timeline_id"],
                COARSE_BUCKETS.to_vec()
            )?,
            basebackups: register_histogram_vec!(
                "pageserver_basebackup_query_seconds",
                "Time spent on basebackup commands",
                &["result"],
                basebackup_buckets
            )?,
            commands: register_int_counter_vec!(
                "pageserver_compute_commands",
                "Number of commands received from computes",
                &["command"]
            )?,
            connections_started: register_int_counter_vec!(
                "pageserver_live_connections_started",
                "Number of network connections begun",
                &["pageserver_connection_kind"]
            )?,
            connections_finished: register_int_counter_vec!(
                "pageserver_live_connections_finished",
                "Number of network connections ended",
                &["pageserver_connection_kind"]
            )?,
        })
    }
}

/// Counts a connection while it lives, however it ends.
pub(super) struct LiveConnection;

const CONNECTION_KIND: &str = "page_service";

impl LiveConnection {
    pub(super) fn start() -> Self {
        if let Some(metrics) = METRICS.as_ref() {
            metrics.connections_started.with_label_values(&[CONNECTION_KIND]).inc();
        }
        LiveConnection
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        if let Some(metrics) = METRICS.as_ref() {
            metrics.connections_finished.with_label_values(&[CONNECTION_KIND]).inc();
        }
    }
}
