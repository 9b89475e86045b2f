//! The limit that background work of all tenants shares, and the bookkeeping of background loops.
//!
//! The limit is below the number of worker threads, so that some are left for everything else.
//! Waits for it and rounds that take too long are counted by the kind of loop.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{
    HistogramVec, IntCounterVec, IntGaugeVec, must, register_histogram_vec,
    register_int_counter_vec, register_int_gauge_vec,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Declares the loops with their label values.
macro_rules! loop_kinds {
    ($( $(#[doc = $doc:literal])+ $kind:ident = $label:literal; )+) => {
        /// What a background loop is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LoopKind {
            $( $(#[doc = $doc])+ $kind, )+
        }

        impl LoopKind {
            /// Every kind.
            pub const ALL: &'static [LoopKind] = &[ $( LoopKind::$kind, )+ ];

            /// The value of the label `task`.
            pub const fn label(self) -> &'static str {
                match self { $( LoopKind::$kind => $label, )+ }
            }
        }
    };
}

loop_kinds! {
    /// Compaction of a tenant.
    Compaction = "compaction";
    /// Garbage collection of a tenant.
    Gc = "gc";
    /// Eviction of layers by age.
    Eviction = "eviction";
    /// Rolling of idle open layers.
    IngestHousekeeping = "ingest_house_keeping";
    /// First computation of a logical size.
    InitialLogicalSizeCalculation = "initial_logical_size_calculation";
    /// Uploads of heatmaps.
    HeatmapUpload = "heatmap_upload";
    /// Downloads of secondary locations.
    SecondaryDownload = "secondary_download";
    /// Eviction under disk pressure.
    DiskUsageEviction = "disk_usage_eviction";
}

static WAIT_STARTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_background_loop_semaphore_wait_start_count",
        "Waits for the shared limit of background work that began",
        &["task"]
    ))
});
static WAIT_FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_background_loop_semaphore_wait_finish_count",
        "Waits for the shared limit of background work that ended",
        &["task"]
    ))
});
static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    must(register_int_gauge_vec!(
        "pageserver_background_loop_semaphore_waiting_tasks",
        "Tasks that wait for the shared limit of background work",
        &["task"]
    ))
});
static RUNNING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    must(register_int_gauge_vec!(
        "pageserver_background_loop_semaphore_running_tasks",
        "Tasks that hold a permit of the shared limit of background work",
        &["task"]
    ))
});
static WAIT_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    must(register_histogram_vec!(
        "pageserver_background_loop_semaphore_wait_seconds",
        "Time spent waiting for the shared limit of background work",
        &["task"],
        vec![0.01, 1.0, 5.0, 10.0, 30.0, 60.0, 180.0, 300.0, 600.0]
    ))
});
static OVERRUNS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_background_loop_period_overrun_count",
        "Rounds of background loops that took longer than their period",
        &["task", "period"]
    ))
});

static TENANT_TASK_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_tenant_task_events",
        "Loops of tenants that began and ended",
        &["event"]
    ))
});

/// Counts a loop of a tenant while it runs.
#[derive(Debug)]
pub struct TenantLoop(());

impl TenantLoop {
    /// The loop begins.
    pub fn start() -> Self {
        TENANT_TASK_EVENTS.with_label_values(&["start"]).inc();
        TenantLoop(())
    }
}

impl Drop for TenantLoop {
    fn drop(&mut self) {
        TENANT_TASK_EVENTS.with_label_values(&["stop"]).inc();
    }
}

/// The limit. Clones share it.
#[derive(Clone, Debug)]
pub struct BackgroundLimit {
    permits: Arc<Semaphore>,
}

/// The right to do background work.
#[derive(Debug)]
pub struct BackgroundPermit {
    kind: LoopKind,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for BackgroundPermit {
    fn drop(&mut self) {
        RUNNING.with_label_values(&[self.kind.label()]).dec();
    }
}

/// Ends a wait in the metrics, also one that was given up.
struct Waiting(LoopKind);

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.with_label_values(&[self.0.label()]).dec();
        WAIT_FINISHED.with_label_values(&[self.0.label()]).inc();
    }
}

impl BackgroundLimit {
    /// A limit for runtimes with so many worker threads.
    pub fn for_worker_threads(threads: usize) -> Self {
        BackgroundLimit::new((threads * 3 / 4).max(1))
    }

    /// A limit of so many tasks at once.
    pub fn new(permits: usize) -> Self {
        BackgroundLimit { permits: Arc::new(Semaphore::new(permits)) }
    }

    /// Waits for a permit. Cancel-safe.
    pub async fn acquire(&self, kind: LoopKind) -> BackgroundPermit {
        let label = [kind.label()];
        WAIT_STARTED.with_label_values(&label).inc();
        WAITING.with_label_values(&label).inc();
        let waiting = Waiting(kind);
        let started = Instant::now();
        // The semaphore is never closed; were it, an unlimited task is better than none.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        WAIT_SECONDS.with_label_values(&label).observe(started.elapsed().as_secs_f64());
        drop(waiting);
        RUNNING.with_label_values(&label).inc();
        BackgroundPermit { kind, _permit: permit }
    }
}

/// Notes that a round took longer than its period. A period of zero has no end to overrun.
pub fn warn_when_period_overrun(elapsed: Duration, period: Duration, kind: LoopKind) {
    if period.is_zero() || elapsed <= period {
        return;
    }
    tracing::info!(
        ?elapsed,
        period = %humantime::format_duration(period),
        task = kind.label(),
        "task iteration took longer than the configured period"
    );
    OVERRUNS.with_label_values(&[kind.label(), &period.as_secs().to_string()]).inc();
}

/// Makes the series of every kind appear, so that rates work from the start.
pub fn preinitialize_metrics() {
    for kind in LoopKind::ALL {
        let label = [kind.label()];
        WAIT_STARTED.with_label_values(&label);
        WAIT_FINISHED.with_label_values(&label);
        WAITING.with_label_values(&label);
        RUNNING.with_label_values(&label);
    }
    LazyLock::force(&OVERRUNS);
    for event in ["start", "stop"] {
        TENANT_TASK_EVENTS.with_label_values(&[event]);
    }
}

#[cfg(test)]
mod tests;
