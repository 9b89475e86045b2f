//! Counters of remote work.

use std::sync::LazyLock;

use metrics::{IntCounterVec, must, register_int_counter_vec};
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
    pub fn started(&self, kinds: Option<(&str, &str)>) {
        self.count(&CALLS_STARTED, kinds);
    }

    /// Counts an operation as ended, however it ended.
    pub fn finished(&self, kinds: Option<(&str, &str)>) {
        self.count(&CALLS_FINISHED, kinds);
    }

    fn count(&self, counter: &IntCounterVec, kinds: Option<(&str, &str)>) {
        if let Some((file, op)) = kinds {
            counter.with_label_values(&self.labels(file, op)).inc();
        }
    }

    fn labels<'a>(&'a self, file_kind: &'a str, op_kind: &'a str) -> [&'a str; 5] {
        [&self.tenant_id, &self.shard_id, &self.timeline_id, file_kind, op_kind]
    }
}

impl Drop for CallMetrics {
    fn drop(&mut self) {
        for (file, op) in [("layer", "upload"), ("index", "upload"), ("layer", "delete")] {
            // Absent unless such an operation took place.
            let _ = CALLS_STARTED.remove_label_values(&self.labels(file, op));
            let _ = CALLS_FINISHED.remove_label_values(&self.labels(file, op));
        }
    }
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
