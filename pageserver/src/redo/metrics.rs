//! Metrics of redo: how long requests take and how much they apply, and the helper processes.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{
    Histogram, IntCounter, IntCounterVec, register_histogram, register_int_counter,
    register_int_counter_vec,
};

const SECONDS: [f64; 17] = [
    0.000_005, 0.000_010, 0.000_025, 0.000_050, 0.000_100, 0.000_250, 0.000_500, 0.001, 0.0025,
    0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0,
];
const RECORDS: [f64; 10] = [0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];
const BYTES: [f64; 22] = [
    24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 184.0, 256.0, 368.0, 512.0, 728.0, 1024.0, 1456.0, 2048.0,
    2904.0, 4096.0, 5800.0, 8192.0, 11592.0, 16384.0, 23176.0, 32768.0,
];

const LAUNCH_SECONDS: [f64; 26] = [
    0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.002, 0.004, 0.006, 0.008, 0.010, 0.020, 0.040, 0.060,
    0.080, 0.100, 0.200, 0.400, 0.600, 0.800, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 10.0,
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

/// The cause that is counted: the process was ended by its owner, whatever moved it.
const STOPPED_BY_OWNER: &str = "WalRedoProcessDrop";

/// Counters of helper processes. Absent only if a name is taken.
pub(super) struct ProcessMetrics(Option<ProcessCounters>);

struct ProcessCounters {
    launch_seconds: Histogram,
    started: IntCounter,
    stopped: IntCounterVec,
    loggers_started: IntCounter,
    loggers_finished: IntCounter,
}

/// The process's counters.
pub(super) static PROCESSES: LazyLock<ProcessMetrics> =
    LazyLock::new(|| ProcessMetrics(ProcessCounters::register().ok()));

impl ProcessCounters {
    fn register() -> Result<Self, metrics::prometheus::Error> {
        Ok(ProcessCounters {
            launch_seconds: register_histogram!(
                "pageserver_wal_redo_process_launch_duration",
                "Histogram of the duration of successful WAL redo process launches",
                LAUNCH_SECONDS.to_vec()
            )?,
            started: register_int_counter!(
                "pageserver_wal_redo_process_started_total",
                "Number of WAL redo processes started"
            )?,
            stopped: register_int_counter_vec!(
                "pageserver_wal_redo_process_stopped_total",
                "Number of WAL redo processes stopped",
                &["cause"]
            )?,
            loggers_started: register_int_counter!(
                "pageserver_walredo_stderr_logger_tasks_started_total",
                "Number of tasks started that log what WAL redo processes say"
            )?,
            loggers_finished: register_int_counter!(
                "pageserver_walredo_stderr_logger_tasks_finished_total",
                "Number of those tasks that have ended"
            )?,
        })
    }
}

impl ProcessMetrics {
    /// A process was started.
    pub(super) fn started(&self, took: Duration) {
        if let Some(counters) = &self.0 {
            counters.launch_seconds.observe(took.as_secs_f64());
            counters.started.inc();
        }
    }

    /// A process was ended.
    pub(super) fn stopped(&self) {
        if let Some(counters) = &self.0 {
            counters.stopped.with_label_values(&[STOPPED_BY_OWNER]).inc();
        }
    }

    /// A task began to copy what a process says.
    pub(super) fn logger_started(&self) {
        if let Some(counters) = &self.0 {
            counters.loggers_started.inc();
        }
    }

    /// Such a task has ended.
    pub(super) fn logger_finished(&self) {
        if let Some(counters) = &self.0 {
            counters.loggers_finished.inc();
        }
    }
}
