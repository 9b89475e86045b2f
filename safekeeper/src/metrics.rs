//! The safekeeper's metrics. Names and labels are a contract with dashboards and tests.

pub mod timelines;

use std::sync::LazyLock;

use metrics::{
    Histogram, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    register_histogram, register_histogram_vec, register_int_counter, register_int_counter_vec,
    register_int_gauge, register_int_gauge_vec,
};

/// Buckets of whatever waits for a disk, in seconds.
const FSYNC_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
const WRITE_BYTES_BUCKETS: [f64; 8] =
    [1.0, 10.0, 100.0, 1024.0, 8192.0, 131_072.0, 1_048_576.0, 10_485_760.0];
const TIMELINE_COUNT_BUCKETS: [f64; 12] =
    [1.0, 10.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0, 50_000.0];

const ONCE: &str = "the metric is registered once, with a valid name";

macro_rules! metric {
    ($(#[$doc:meta])* $name:ident: $kind:ty = $register:expr) => {
        $(#[$doc])*
        pub static $name: LazyLock<$kind> = LazyLock::new(|| $register.expect(ONCE));
    };
}

metric! {
    /// Bytes per write.
    WRITE_WAL_BYTES: Histogram = register_histogram!(
        "safekeeper_write_wal_bytes",
        "Bytes written to WAL in a single request",
        WRITE_BYTES_BUCKETS.to_vec()
    )
}
metric! {
    /// Time of a write.
    WRITE_WAL_SECONDS: Histogram = register_histogram!(
        "safekeeper_write_wal_seconds",
        "Seconds spent writing WAL to disk in a single request",
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// Time of a sync.
    FLUSH_WAL_SECONDS: Histogram = register_histogram!(
        "safekeeper_flush_wal_seconds",
        "Seconds spent syncing WAL to disk",
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// Time of replacing a control file.
    PERSIST_CONTROL_FILE_SECONDS: Histogram = register_histogram!(
        "safekeeper_persist_control_file_seconds",
        "Seconds to persist and sync a control file",
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// Time of telling the broker about all active timelines.
    BROKER_PUSH_SECONDS: Histogram = register_histogram!(
        "safekeeper_broker_push_update_seconds",
        "Seconds to push all timeline updates to the broker",
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// How many timelines were told at once.
    BROKER_ITERATION_TIMELINES: Histogram = register_histogram!(
        "safekeeper_broker_iteration_timelines",
        "Timelines pushed to the broker in a single iteration",
        TIMELINE_COUNT_BUCKETS.to_vec()
    )
}
metric! {
    /// Rare operations on WAL files.
    WAL_STORAGE_OPERATION_SECONDS: HistogramVec = register_histogram_vec!(
        "safekeeper_wal_storage_operation_seconds",
        "Seconds spent on rare WAL storage operations",
        &["operation"],
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// Rare operations on timelines.
    MISC_OPERATION_SECONDS: HistogramVec = register_histogram_vec!(
        "safekeeper_misc_operation_seconds",
        "Seconds spent on rare operations",
        &["operation"],
        FSYNC_BUCKETS.to_vec()
    )
}
metric! {
    /// Uploads of partial segments.
    PARTIAL_BACKUP_UPLOADS: IntCounterVec = register_int_counter_vec!(
        "safekeeper_partial_backup_uploads_total",
        "Partial segment uploads",
        &["result"]
    )
}
metric! {
    /// Bytes of partial segments.
    PARTIAL_BACKUP_UPLOADED_BYTES: IntCounter = register_int_counter!(
        "safekeeper_partial_backup_uploaded_bytes_total",
        "Bytes of partial segments uploaded"
    )
}
metric! {
    /// Background tasks of all timelines that run right now.
    MANAGER_TASKS: IntGaugeVec = register_int_gauge_vec!(
        "safekeeper_manager_tasks",
        "Background tasks of timelines running now",
        &["task"]
    )
}
metric! {
    /// Timelines whose newest WAL is in object storage only.
    EVICTED_TIMELINES: IntGauge = register_int_gauge!(
        "safekeeper_evicted_timelines",
        "Timelines offloaded to object storage"
    )
}
metric! {
    /// Moves of timelines to object storage and back, begun.
    EVICTION_EVENTS_STARTED: IntCounterVec = register_int_counter_vec!(
        "safekeeper_eviction_events_started_total",
        "Timeline evictions and restorations started",
        &["kind"]
    )
}
metric! {
    /// Moves of timelines to object storage and back, done.
    EVICTION_EVENTS_COMPLETED: IntCounterVec = register_int_counter_vec!(
        "safekeeper_eviction_events_completed_total",
        "Timeline evictions and restorations completed",
        &["kind"]
    )
}
metric! {
    /// Traffic of the WAL service.
    PG_IO_BYTES: IntCounterVec = register_int_counter_vec!(
        "safekeeper_pg_io_bytes_total",
        "Bytes read from or written to PostgreSQL clients",
        &["client_az", "sk_az", "app_name", "dir", "same_az"]
    )
}
metric! {
    /// Messages published through the broker.
    BROKER_PUSHED_UPDATES: IntCounter = register_int_counter!(
        "safekeeper_broker_pushed_updates_total",
        "Timeline updates pushed to the broker"
    )
}
metric! {
    /// Messages received through the broker.
    BROKER_PULLED_UPDATES: IntCounterVec = register_int_counter_vec!(
        "safekeeper_broker_pulled_updates_total",
        "Timeline updates pulled from the broker",
        &["result"]
    )
}
metric! {
    /// Commands of the WAL service begun.
    PG_QUERIES_RECEIVED: IntCounterVec = register_int_counter_vec!(
        "safekeeper_pg_queries_received_total",
        "Queries received by the WAL service",
        &["query"]
    )
}
metric! {
    /// Commands of the WAL service ended.
    PG_QUERIES_FINISHED: IntCounterVec = register_int_counter_vec!(
        "safekeeper_pg_queries_finished_total",
        "Queries finished by the WAL service",
        &["query"]
    )
}
metric! {
    /// Segments removed.
    REMOVED_WAL_SEGMENTS: IntCounter = register_int_counter!(
        "safekeeper_removed_wal_segments_total",
        "WAL segments removed from the disk"
    )
}
metric! {
    /// Segments archived.
    BACKED_UP_SEGMENTS: IntCounter = register_int_counter!(
        "safekeeper_backed_up_segments_total",
        "WAL segments uploaded to object storage"
    )
}
metric! {
    /// Failed attempts to archive.
    BACKUP_ERRORS: IntCounter = register_int_counter!(
        "safekeeper_backup_errors_total",
        "Errors while archiving WAL"
    )
}
metric! {
    /// Archiving tasks begun.
    WAL_BACKUP_TASKS_STARTED: IntCounter = register_int_counter!(
        "safekeeper_wal_backup_tasks_started_total",
        "Archiving tasks started"
    )
}
metric! {
    /// Archiving tasks ended.
    WAL_BACKUP_TASKS_FINISHED: IntCounter = register_int_counter!(
        "safekeeper_wal_backup_tasks_finished_total",
        "Archiving tasks finished"
    )
}
metric! {
    /// Feedback messages of pageservers.
    RECEIVED_PS_FEEDBACKS: IntCounter = register_int_counter!(
        "safekeeper_received_ps_feedbacks_total",
        "Pageserver feedbacks received"
    )
}
metric! {
    /// Rounds of all timeline managers.
    MANAGER_ITERATIONS: IntCounter = register_int_counter!(
        "safekeeper_manager_iterations_total",
        "Iterations of timeline managers"
    )
}
metric! {
    /// Timelines that became active or inactive.
    MANAGER_ACTIVE_CHANGES: IntCounter = register_int_counter!(
        "safekeeper_manager_active_changes_total",
        "Times a timeline became active or inactive"
    )
}

/// Times a rare operation on WAL files until dropped.
pub fn wal_storage_timer(operation: &str) -> HistogramTimer {
    WAL_STORAGE_OPERATION_SECONDS.with_label_values(&[operation]).start_timer()
}

/// Times a rare operation on a timeline until dropped.
pub fn misc_timer(operation: &str) -> HistogramTimer {
    MISC_OPERATION_SECONDS.with_label_values(&[operation]).start_timer()
}

/// Counts something in a gauge while it lives.
#[derive(Debug)]
pub struct GaugeGuard {
    gauge: IntGauge,
}

impl GaugeGuard {
    /// A background task of this name runs.
    pub fn task(name: &str) -> Self {
        Self::of(MANAGER_TASKS.with_label_values(&[name]))
    }

    /// A timeline is in object storage only.
    pub fn evicted_timeline() -> Self {
        Self::of(EVICTED_TIMELINES.clone())
    }

    fn of(gauge: IntGauge) -> Self {
        gauge.inc();
        Self { gauge }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Counts a command of the WAL service from its begin to its end.
#[derive(Debug)]
pub struct QueryGuard {
    label: &'static str,
}

impl QueryGuard {
    /// A command with this label begins.
    pub fn begin(label: &'static str) -> Self {
        PG_QUERIES_RECEIVED.with_label_values(&[label]).inc();
        Self { label }
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        PG_QUERIES_FINISHED.with_label_values(&[self.label]).inc();
    }
}
