//! Counters of requests to stores that are reached over a network.
//!
//! The names speak of S3 whatever the store is: dashboards rely on them.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{
    HistogramVec, IntCounter, IntCounterVec, must, register_histogram_vec, register_int_counter,
    register_int_counter_vec,
};

use crate::RemoteStorageError;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    Put,
    Delete,
    List,
    Copy,
    TimeTravel,
}

impl RequestKind {
    fn label(self) -> &'static str {
        match self {
            RequestKind::Get => "get_object",
            RequestKind::Put => "put_object",
            RequestKind::Delete => "delete_object",
            RequestKind::List => "list_objects",
            RequestKind::Copy => "copy_object",
            RequestKind::TimeTravel => "time_travel_recover",
        }
    }
}

static REQUEST_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "remote_storage_s3_request_seconds",
        "Time of requests to the remote store, without waiting for a turn",
        &["request_type", "result"]
    ))
});
static WAIT_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "remote_storage_s3_wait_seconds",
        "Time that requests to the remote store waited for a turn",
        &["request_type"]
    ))
});
static CANCELLED_WAITS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "remote_storage_s3_cancelled_waits_total",
        "Requests to the remote store that were given up while they waited for a turn",
        &["request_type"]
    ))
});
pub(crate) static DELETED_OBJECTS: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "remote_storage_s3_deleted_objects_total",
        "Objects deleted from the remote store"
    ))
});

/// Notes how long a request took and how it ended.
pub(crate) fn observe_request<T>(
    kind: RequestKind,
    elapsed: Duration,
    result: &Result<T, RemoteStorageError>,
) {
    let ended = match result {
        Ok(_) => "ok",
        Err(RemoteStorageError::Cancelled) => "cancelled",
        // An absent object is an answer.
        Err(RemoteStorageError::NotFound(_)) if kind == RequestKind::Get => "ok",
        Err(_) => "err",
    };
    REQUEST_SECONDS.with_label_values(&[kind.label(), ended]).observe(elapsed.as_secs_f64());
}

/// Notes how long a request waited for its turn.
pub(crate) fn observe_wait(kind: RequestKind, elapsed: Duration) {
    WAIT_SECONDS.with_label_values(&[kind.label()]).observe(elapsed.as_secs_f64());
}

/// Notes that a request never got its turn.
pub(crate) fn count_cancelled_wait(kind: RequestKind) {
    CANCELLED_WAITS.with_label_values(&[kind.label()]).inc();
}
