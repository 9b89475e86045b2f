//! What is counted and measured of remote work.

use std::sync::LazyLock;
use std::time::Instant;

use metrics::{
    DEFAULT_BUCKETS, HistogramVec, IntCounterVec, must, register_histogram_vec,
    register_int_counter_vec,
};
use pageserver_api::shard::TenantShardId;
use utils::TimelineId;

use super::queue::UploadOp;

const CALL_LABELS: &[&str] = &["tenant_id", "shard_id", "timeline_id", "file_kind", "op_kind"];

static CALLS_STARTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_remote_timeline_client_calls_started",
        "Remote operations of a timeline that were scheduled",
        CALL_LABELS
    ))
});
static CALLS_FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_remote_timeline_client_calls_finished",
        "Remote operations of a timeline that have ended",
        CALL_LABELS
    ))
});

static BYTES_STARTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_remote_timeline_client_bytes_started",
        "Bytes of a timeline's remote operations that were scheduled",
        CALL_LABELS
    ))
});
static BYTES_FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_remote_timeline_client_bytes_finished",
        "Bytes of a timeline's remote operations that have ended, however they ended",
        CALL_LABELS
    ))
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "pageserver_remote_operation_seconds",
        "Seconds that an attempt at a remote operation takes, once it is its turn",
        &["file_kind", "op_kind", "status"],
        DEFAULT_BUCKETS.to_vec()
    ))
});

/// File and operation of a download.
pub const LAYER_DOWNLOAD: (&str, &str) = ("layer", "download");

/// Counts one timeline's remote operations.
#[derive(Debug)]
pub struct CallMetrics {
    tenant_id: String,
    shard_id: String,
    timeline_id: String,
}

impl CallMetrics {
    pub fn new(shard: &TenantShardId, timeline: &TimelineId) -> Self {
        CallMetrics {
            tenant_id: shard.tenant_id.to_string(),
            shard_id: shard.shard_slug(),
            timeline_id: timeline.to_string(),
        }
    }

    /// Counts an operation as scheduled.
    pub fn scheduled(&self, op: &UploadOp) {
        self.count((&CALLS_STARTED, &BYTES_STARTED), kinds(op), bytes(op));
    }

    /// Counts an operation as ended, however it ended.
    pub fn ended(&self, op: &UploadOp) {
        self.count((&CALLS_FINISHED, &BYTES_FINISHED), kinds(op), bytes(op));
    }

    /// Counts a download from now until the result is dropped.
    pub fn download(&self) -> DownloadInProgress<'_> {
        self.count((&CALLS_STARTED, &BYTES_STARTED), Some(LAYER_DOWNLOAD), 0);
        DownloadInProgress(self)
    }

    fn count(
        &self,
        (calls, bytes_moved): (&IntCounterVec, &IntCounterVec),
        kinds: Option<(&str, &str)>,
        bytes: u64,
    ) {
        let Some((file, op)) = kinds else { return };
        calls.with_label_values(&self.labels(file, op)).inc();
        // Of what is small, or counted elsewhere, nothing is shown.
        if bytes > 0 {
            bytes_moved.with_label_values(&self.labels(file, op)).inc_by(bytes);
        }
    }

    fn labels<'a>(&'a self, file_kind: &'a str, op_kind: &'a str) -> [&'a str; 5] {
        [&self.tenant_id, &self.shard_id, &self.timeline_id, file_kind, op_kind]
    }
}

impl Drop for CallMetrics {
    fn drop(&mut self) {
        for (file, op) in
            [("layer", "upload"), ("index", "upload"), ("layer", "delete"), LAYER_DOWNLOAD]
        {
            for counter in [&CALLS_STARTED, &CALLS_FINISHED, &BYTES_STARTED, &BYTES_FINISHED] {
                // Absent unless such an operation took place.
                let _ = counter.remove_label_values(&self.labels(file, op));
            }
        }
    }
}

/// A download that is counted.
#[must_use]
pub struct DownloadInProgress<'a>(&'a CallMetrics);

impl Drop for DownloadInProgress<'_> {
    fn drop(&mut self) {
        self.0.count((&CALLS_FINISHED, &BYTES_FINISHED), Some(LAYER_DOWNLOAD), 0);
    }
}

/// Measures an attempt at an operation.
pub async fn timed<T, E>(
    (file_kind, op_kind): (&str, &str),
    attempt: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let started = Instant::now();
    let outcome = attempt.await;
    let status = if outcome.is_ok() { "success" } else { "failure" };
    let seconds = started.elapsed().as_secs_f64();
    DURATION.with_label_values(&[file_kind, op_kind, status]).observe(seconds);
    outcome
}

/// The labels of an operation; none for those that do nothing remotely.
pub fn kinds(op: &UploadOp) -> Option<(&'static str, &'static str)> {
    match op {
        UploadOp::Layer(_) => Some(("layer", "upload")),
        UploadOp::Index(_) => Some(("index", "upload")),
        UploadOp::Delete(_) => Some(("layer", "delete")),
        UploadOp::Barrier(_) | UploadOp::Shutdown => None,
    }
}

/// What an operation moves, as far as that is shown.
fn bytes(op: &UploadOp) -> u64 {
    match op {
        UploadOp::Layer(upload) => upload.metadata.file_size,
        UploadOp::Index(_) | UploadOp::Delete(_) | UploadOp::Barrier(_) | UploadOp::Shutdown => 0,
    }
}
