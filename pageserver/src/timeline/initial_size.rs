//! The first computation of a timeline's logical size: who waits for it, and what became of it.

use std::sync::LazyLock;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{IntCounter, IntCounterVec, must, register_int_counter, register_int_counter_vec};
use tokio_util::sync::CancellationToken;

use super::Timeline;
use crate::keymap::logical_size::CurrentLogicalSize;

static STARTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_initial_logical_size_start_calculation",
        "First computations of logical sizes that began",
        &["attempt", "circumstances"]
    ))
});
static DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_initial_logical_size_drop_calculation",
        "First computations of logical sizes that came to nothing",
        &["attempt"]
    ))
});
static FINISHED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_initial_logical_size_finish_calculation",
        "First computations of logical sizes that ended well"
    ))
});
static RESULTS_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_initial_logical_size_drop_finished_calculation",
        "First computations that ended well, of timelines that are gone"
    ))
});
static APPROXIMATE: LazyLock<IntCounter> = LazyLock::new(|| {
    must(register_int_counter!(
        "pageserver_initial_logical_size_timelines_where_walreceiver_got_approximate_size",
        "Timelines whose safekeepers were told a size before the whole of it was known"
    ))
});

/// The series that exist from the start.
pub(super) fn preinitialize_metrics() {
    for counter in [&FINISHED, &RESULTS_DROPPED, &APPROXIMATE] {
        LazyLock::force(counter);
    }
}

/// Which try it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The first.
    First,
    /// One after a failure.
    Retry,
}

impl Attempt {
    const fn label(self) -> &'static str {
        match self {
            Attempt::First => "first",
            Attempt::Retry => "retry",
        }
    }
}

/// A computation under way. Dropping it without [`Timeline::finish_initial_size`] gives it up.
#[derive(Debug)]
#[must_use]
pub struct InitialSizeCalculation {
    attempt: Attempt,
    finished: bool,
}

impl InitialSizeCalculation {
    /// Begins one; `skipped_limiter` if somebody waited for it.
    pub fn start(attempt: Attempt, skipped_limiter: bool) -> Self {
        let circumstances = match skipped_limiter {
            true => "SkippedConcurrencyLimiter",
            false => "AfterBackgroundTasksRateLimit",
        };
        STARTED.with_label_values(&[attempt.label(), circumstances]).inc();
        InitialSizeCalculation { attempt, finished: false }
    }
}

impl Drop for InitialSizeCalculation {
    fn drop(&mut self) {
        if !self.finished {
            DROPPED.with_label_values(&[self.attempt.label()]).inc();
        }
    }
}

/// A result that is in use; counts when it is gone.
#[derive(Debug)]
struct LiveResult;

impl Drop for LiveResult {
    fn drop(&mut self) {
        RESULTS_DROPPED.inc();
    }
}

/// Where the first computation of one timeline's size stands.
#[derive(Debug, Default)]
pub(super) struct InitialSize {
    /// Somebody waits for it.
    wanted: CancellationToken,
    /// It was tried, whatever the outcome.
    tried: CancellationToken,
    result: OnceLock<LiveResult>,
    /// A safekeeper was told an approximate size.
    told_approximate: AtomicBool,
}

impl InitialSize {
    /// Of a timeline that begins with nothing in it, or of one whose size is not known.
    pub(super) fn new(is_empty: bool) -> Self {
        let initial_size = InitialSize::default();
        if is_empty {
            STARTED.with_label_values(&[Attempt::First.label(), "EmptyInitial"]).inc();
            initial_size.set_result();
        }
        initial_size
    }

    fn set_result(&self) {
        FINISHED.inc();
        // Computed once; a second result would be the same.
        let _ = self.result.set(LiveResult);
    }
}

impl Timeline {
    /// Fires when somebody waits for the size: it need not wait for its turn then.
    pub fn initial_size_wanted(&self) -> &CancellationToken {
        &self.initial_size.wanted
    }

    /// Supplies the size at the LSN where the timeline was loaded, in bytes.
    pub fn finish_initial_size(&self, mut calculation: InitialSizeCalculation, bytes: u64) {
        calculation.finished = true;
        self.initial_size.set_result();
        self.logical_size().set_initial(bytes);
    }

    /// Lets those go on who wait for the size.
    pub fn initial_size_tried(&self) {
        self.initial_size.tried.cancel();
    }

    /// Waits until the size is known, or the attempt to compute it failed, and lets it overtake
    /// others. Only shard zero computes sizes.
    pub async fn await_initial_size(&self) {
        let known = matches!(self.logical_size().current(), CurrentLogicalSize::Exact(_));
        if known || !self.tenant_shard_id.is_shard_zero() {
            return;
        }
        self.initial_size.wanted.cancel();
        // Both branches are cancel-safe: they only look.
        tokio::select! {
            () = self.initial_size.tried.cancelled() => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// The size as safekeepers are told.
    pub fn logical_size_for_safekeepers(&self) -> CurrentLogicalSize {
        let size = self.logical_size().current();
        let approximate = matches!(size, CurrentLogicalSize::Approximate(_));
        if approximate && !self.initial_size.told_approximate.swap(true, Ordering::Relaxed) {
            APPROXIMATE.inc();
        }
        size
    }
}
