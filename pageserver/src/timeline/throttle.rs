//! Bounds how many keys the tasks of a tenant shard read, as the tenant's option
//! `timeline_get_throttle` says: a bucket of tokens, of which each key takes one.
//!
//! Whoever takes tokens that are not there yet waits until they would be: so turns are given in
//! order of arrival, and none is lost to rounding. The option's `fair = false` allows other orders
//! and does not demand any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use metrics::{IntCounterVec, must, register_int_counter_vec};
use pageserver_api::models::Throttle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::TenantConfHandle;
use crate::context;
use crate::tasks::TaskKind;

const KIND: &str = "timeline_get";

static WAITED_MICROS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_tenant_throttling_wait_usecs_sum_global",
        "Microseconds for which requests were held back",
        &["kind"]
    ))
});
static WAITS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    must(register_int_counter_vec!(
        "pageserver_tenant_throttling_count_global",
        "Requests that were held back",
        &["kind"]
    ))
});

/// Makes the series appear.
pub(super) fn preinitialize_metrics() {
    WAITED_MICROS.with_label_values(&[KIND]);
    WAITS.with_label_values(&[KIND]);
}

/// The throttle of one tenant shard.
#[derive(Debug)]
pub struct ReadThrottle {
    conf: TenantConfHandle,
    bucket: Mutex<Option<Bucket>>,
    statistics: Statistics,
}

/// What happened since it was last told.
#[derive(Debug, Default)]
struct Statistics {
    accounted: AtomicU64,
    throttled: AtomicU64,
    waited_micros: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    config: Throttle,
    kinds: Vec<TaskKind>,
    /// Negative if tokens were taken in advance.
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(config: Throttle) -> Self {
        let parse = |name: &String| {
            let found = TaskKind::ALL.iter().find(|kind| kind.name() == name).copied();
            if found.is_none() {
                tracing::error!("cannot parse task kind, ignoring for rate limiting: {name:?}");
            }
            found
        };
        let kinds = config.task_kinds.iter().filter_map(parse).collect();
        let tokens = f64::from(config.initial.min(config.max));
        Bucket { config, kinds, tokens, filled_at: Instant::now() }
    }

    fn tokens_per_second(&self) -> f64 {
        // An interval of zero would be no limit at all.
        let interval = self.config.refill_interval.max(Duration::from_nanos(1));
        f64::from(self.config.refill_amount.get()) / interval.as_secs_f64()
    }

    /// Takes tokens; returns how long it takes until they are there.
    fn take(&mut self, tokens: u64, now: Instant) -> Duration {
        let rate = self.tokens_per_second();
        let filled = now.saturating_duration_since(self.filled_at).as_secs_f64() * rate;
        self.filled_at = now;
        let limit = f64::from(self.config.max).max(0.0);
        // Debts are paid first; only what is there is limited.
        self.tokens = (self.tokens + filled).min(limit.max(self.tokens)) - tokens as f64;
        Duration::try_from_secs_f64((-self.tokens).max(0.0) / rate).unwrap_or(Duration::MAX)
    }
}

impl ReadThrottle {
    /// Follows the options of a tenant.
    pub fn new(conf: TenantConfHandle) -> Self {
        ReadThrottle { conf, bucket: Mutex::default(), statistics: Statistics::default() }
    }

    /// Returns when a task may read so many keys, at once if it is not held back at all, or if
    /// `cancel` fires.
    pub async fn admit(&self, task: TaskKind, keys: u64, cancel: &CancellationToken) {
        let wait = self.reserve(task, keys);
        if wait.is_zero() {
            return;
        }
        let started = Instant::now();
        // Cancel-safe: what was taken stays taken.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => {}
        }
        let waited = started.elapsed();
        context::add_throttled_time(waited);
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.statistics.throttled.fetch_add(1, Ordering::Relaxed);
        self.statistics.waited_micros.fetch_add(micros, Ordering::Relaxed);
        WAITS.with_label_values(&[KIND]).inc();
        WAITED_MICROS.with_label_values(&[KIND]).inc_by(micros);
    }

    fn reserve(&self, task: TaskKind, keys: u64) -> Duration {
        let conf = self.conf.load();
        let wanted = &conf.effective.timeline_get_throttle;
        if wanted.task_kinds.is_empty() {
            return Duration::ZERO;
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match &mut *bucket {
            Some(bucket) if bucket.config == *wanted => bucket,
            outdated => outdated.insert(Bucket::new(wanted.clone())),
        };
        if !bucket.kinds.contains(&task) {
            return Duration::ZERO;
        }
        self.statistics.accounted.fetch_add(1, Ordering::Relaxed);
        bucket.take(keys, Instant::now())
    }

    /// Tells in the log what was held back since the last time, `elapsed` ago.
    pub fn log_statistics(&self, elapsed: Duration) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let count_accounted = take(&self.statistics.accounted);
        let count_throttled = take(&self.statistics.throttled);
        let sum_throttled_usecs = take(&self.statistics.waited_micros);
        if count_throttled == 0 {
            return;
        }
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed_rps = bucket.as_ref().map_or(0.0, Bucket::tokens_per_second);
        tracing::info!(
            n_seconds = %format_args!("{:.3}", elapsed.as_secs_f64()),
            count_accounted,
            count_throttled,
            sum_throttled_usecs,
            allowed_rps = %format_args!("{allowed_rps:.0}"),
            "shard was throttled in the last n_seconds"
        );
    }
}

#[cfg(test)]
mod tests;
