//! What accompanies a request through the engine: who asks, and how far the engine may go to
//! answer.
//!
//! Owns no cancellation: that belongs to the object a task works on.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use crate::tasks::TaskKind;

tokio::task_local! {
    /// For how long reads of the request were held back on purpose.
    static THROTTLED: Cell<Duration>;
}

/// Runs a request; also tells for how long its reads were held back on purpose.
pub async fn with_throttled_time<F: Future>(request: F) -> (F::Output, Duration) {
    let counted = async {
        let output = request.await;
        (output, THROTTLED.with(Cell::get))
    };
    THROTTLED.scope(Cell::new(Duration::ZERO), counted).await
}

/// A read of the present request was held back.
pub fn add_throttled_time(time: Duration) {
    // Outside of requests nobody wants to know.
    let _ = THROTTLED.try_with(|total| total.set(total.get() + time));
}

/// What to do about a layer that is not on the local disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DownloadBehavior {
    /// Download it.
    #[default]
    Download,
    /// Download it, but say so in the log.
    Warn,
    /// Fail.
    Error,
}

/// Whether an access counts as use of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessStatsBehavior {
    /// It does.
    #[default]
    Update,
    /// It does not: the reader is a background job that would look at everything.
    Skip,
}

/// Who asks, and how far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestContext {
    task_kind: TaskKind,
    download: DownloadBehavior,
    access_stats: AccessStatsBehavior,
}

impl RequestContext {
    /// A context for a task of the given kind.
    pub const fn new(task_kind: TaskKind, download: DownloadBehavior) -> Self {
        RequestContext { task_kind, download, access_stats: AccessStatsBehavior::Update }
    }

    /// The same, but accesses do not count as use.
    #[must_use]
    pub const fn without_access_stats(self) -> Self {
        RequestContext { access_stats: AccessStatsBehavior::Skip, ..self }
    }

    /// A context for work done on behalf of this one. Accesses count again.
    #[must_use]
    pub const fn child(&self, task_kind: TaskKind, download: DownloadBehavior) -> Self {
        RequestContext::new(task_kind, download)
    }

    /// Who asks.
    pub const fn task_kind(&self) -> TaskKind {
        self.task_kind
    }

    /// What to do about absent layers.
    pub const fn download_behavior(&self) -> DownloadBehavior {
        self.download
    }

    /// Whether accesses count as use.
    pub const fn access_stats_behavior(&self) -> AccessStatsBehavior {
        self.access_stats
    }
}
