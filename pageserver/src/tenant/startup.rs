//! The phases of the process's start, and who has reached them.
//!
//! Every tenant that is known when the process starts holds a token per phase. Background work
//! waits until all have loaded, or until that has taken too long: a tenant that is stuck must not
//! keep the others from being looked after.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use metrics::{
    GaugeVec, Histogram, IntCounter, IntGauge, must, register_gauge_vec, register_histogram,
    register_int_counter, register_int_gauge,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::info;

/// Buckets of durations that may be microseconds or minutes.
const BUCKETS_SECONDS: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0];

fn duration_histogram(name: &str, help: &str) -> Histogram {
    must(register_histogram!(name, help, BUCKETS_SECONDS.to_vec()))
}

static DURATION: LazyLock<GaugeVec> = LazyLock::new(|| {
    must(register_gauge_vec!(
        "pageserver_startup_duration_seconds",
        "Seconds since the start of the process at the end of each phase of its start",
        &["phase"]
    ))
});
static IS_LOADING: LazyLock<IntGauge> = LazyLock::new(|| {
    must(register_int_gauge!(
        "pageserver_startup_is_loading",
        "1 while tenants are loaded at the start of the process"
    ))
});
static SCHEDULED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_tenant_startup_scheduled",
        "Tenants that were to be attached at the start of the process"
    ))
});
static COMPLETE: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_tenant_startup_complete",
        "Tenants of the start of the process that are warmed up"
    ))
});
pub(super) static ACTIVATION_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    duration_histogram(
        "pageserver_tenant_activation_seconds",
        "Seconds that clients wait for a tenant to become active",
    )
});
pub(super) static PRELOAD_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    duration_histogram(
        "pageserver_tenant_preload_seconds",
        "Seconds it takes to read the indexes of a tenant",
    )
});
pub(super) static ATTACH_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    duration_histogram(
        "pageserver_tenant_attach_seconds",
        "Seconds from the turn of a tenant to its activation",
    )
});

/// Makes every series appear.
pub fn preinitialize_metrics() {
    IS_LOADING.set(0);
    LazyLock::force(&SCHEDULED);
    LazyLock::force(&COMPLETE);
    for histogram in [&ACTIVATION_SECONDS, &PRELOAD_SECONDS, &ATTACH_SECONDS] {
        LazyLock::force(histogram);
    }
}

/// Who has not loaded yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StartupProgress {
    remote: TaskTracker,
    load: TaskTracker,
}

/// One tenant's part in the start.
#[derive(Debug)]
pub struct TenantStartup {
    remote: Option<TaskTrackerToken>,
    load: Option<TaskTrackerToken>,
}

impl StartupProgress {
    /// Counts a tenant in.
    pub fn add_tenant(&self) -> TenantStartup {
        SCHEDULED.inc();
        TenantStartup { remote: Some(self.remote.token()), load: Some(self.load.token()) }
    }

    /// No more tenants will be counted in.
    pub fn all_added(&self) {
        self.remote.close();
        self.load.close();
    }

    /// Announces the phases as they are reached. `can_start` fires when background work may begin.
    pub async fn announce(
        self,
        started: Instant,
        max_delay: Duration,
        can_start: CancellationToken,
        cancel: CancellationToken,
    ) {
        IS_LOADING.set(1);
        let clock = Clock { started };
        clock.reached("initial", "Starting loading tenants");
        // Cancel-safe: the phases carry no state.
        tokio::select! {
            () = self.phases(&clock, max_delay, can_start) => {}
            () = cancel.cancelled() => {
                let loaded = IS_LOADING.get() == 0;
                match loaded {
                    false => info!("Cancelled before initial load completed"),
                    true => info!("Cancelled before waiting for skipped phases done"),
                }
            }
        }
    }

    async fn phases(&self, clock: &Clock, max_delay: Duration, can_start: CancellationToken) {
        let deadline = tokio::time::Instant::now() + max_delay;
        let remote = async {
            self.remote.wait().await;
            clock.reached("initial_tenant_load_remote", "Remote part of initial load completed");
        };
        let load = async {
            self.load.wait().await;
            clock.reached("initial_tenant_load", "Initial load completed");
            IS_LOADING.set(0);
        };
        let loaded = async {
            remote.await;
            load.await;
        };
        tokio::pin!(loaded);
        let in_time = tokio::time::timeout_at(deadline, &mut loaded).await.is_ok();
        if !in_time {
            let timeout_millis = max_delay.as_millis() as u64;
            let phase = "initial_tenant_load";
            info!(timeout_millis, phase, "Startup phase timed out, proceeding anyway");
        }
        clock.reached("background_jobs_can_start", "Starting background jobs");
        can_start.cancel();
        if !in_time {
            loaded.await;
        }
        clock.reached("complete", "Startup complete");
    }
}

impl TenantStartup {
    /// The tenant has read its indexes.
    pub(super) fn remote_read(&mut self) {
        self.remote = None;
    }

    /// The tenant is loaded, well or not.
    pub(super) fn loaded(&mut self) {
        self.remote = None;
        self.load = None;
    }

    /// The tenant needs nothing any more to serve at full speed.
    pub(super) fn warmed_up(self) {
        COMPLETE.inc();
    }
}

/// Tells how long the process has been running.
struct Clock {
    started: Instant,
}

impl Clock {
    fn reached(&self, phase: &str, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        DURATION.with_label_values(&[phase]).set(seconds);
        info!("{text} ({seconds:.3}s since start)");
    }
}

#[cfg(test)]
mod tests;
