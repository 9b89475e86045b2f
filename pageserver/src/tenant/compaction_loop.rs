//! Compacts the timelines of an active tenant, at intervals.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tracing::Instrument;
use utils::backoff::exponential_backoff_duration;

use super::Tenant;
use crate::context::{DownloadBehavior, RequestContext};
use crate::tasks::{ExitOnError, LoopKind, TaskKind, TenantLoop, warn_when_period_overrun};
use crate::timeline::{CompactFlags, CompactionError};

/// Time between looks at the configuration while compaction is off.
const DISABLED_POLL: Duration = Duration::from_secs(10);
/// Base of the waits after failures.
const BACKOFF_BASE_SECONDS: f64 = 1.0;
/// Periods without a page to redo after which the helper process is ended.
const IDLE_PERIODS: u32 = 10;
/// Longest wait after failures.
const BACKOFF_MAX_SECONDS: f64 = 300.0;

impl Tenant {
    /// Starts the loop.
    pub(super) fn spawn_compaction_loop(self: &Arc<Self>) {
        let tenant = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "compaction_loop",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
        );
        let compaction = async move {
            let _counted = TenantLoop::start();
            if !tenant.wait_for_background_start().await {
                return Ok::<(), Infallible>(());
            }
            // Tenants that start together should not compact together.
            let first = tenant.compaction_period().mul_f64(rand::rng().random_range(0.0..=1.0));
            let mut wait = first;
            let mut failures = 0;
            let mut told_at = Instant::now();
            while tenant.sleep(wait).await {
                let started = Instant::now();
                tenant.tell_of_throttling(started - told_at);
                told_at = started;
                // Boxed while it runs: a loop that waits has no use for the room.
                let compacted = Box::pin(tenant.compact_timelines()).await;
                let period = tenant.tenant_conf.load().effective.compaction_period;
                warn_when_period_overrun(started.elapsed(), period, LoopKind::Compaction);
                wait = match compacted {
                    Ok(()) => {
                        failures = 0;
                        tenant.compaction_period()
                    }
                    Err(failure) => {
                        failures += 1;
                        tenant.compaction_failed(&failure, failures)
                    }
                };
                tenant.redo.quiesce(tenant.compaction_period() * IDLE_PERIODS).await;
            }
            Ok(())
        };
        let runtime = &self.resources.remote.runtime;
        let compaction = compaction.instrument(span);
        self.tasks.spawn_on(runtime, TaskKind::Compaction, ExitOnError::No, compaction);
    }

    fn tell_of_throttling(&self, elapsed: Duration) {
        let span = tracing::info_span!(
            parent: None, "timeline_get_throttle",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
        );
        span.in_scope(|| self.throttle.log_statistics(elapsed));
    }

    fn compaction_period(&self) -> Duration {
        match self.tenant_conf.load().effective.compaction_period {
            Duration::ZERO => DISABLED_POLL,
            period => period,
        }
    }

    /// Compacts each active timeline once. Stops at the first failure.
    async fn compact_timelines(&self) -> Result<(), CompactionError> {
        let conf = self.tenant_conf.load();
        let mode = conf.attach_mode;
        // Another node may be about to take over: leave remote storage as it is.
        let allowed = mode.may_upload() && mode.may_delete();
        if conf.effective.compaction_period.is_zero() || !allowed {
            return Ok(());
        }
        let ctx = RequestContext::new(TaskKind::Compaction, DownloadBehavior::Download);
        for timeline in self.list_timelines() {
            if !timeline.is_active() || self.cancel.is_cancelled() {
                continue;
            }
            let _permit = self.resources.background.acquire(LoopKind::Compaction).await;
            match timeline.compact(CompactFlags::default(), &ctx).await {
                Err(failure) if failure.is_cancelled() || timeline.cancel.is_cancelled() => {
                    tracing::info!("compaction of {} was cancelled", timeline.timeline_id);
                }
                compacted => compacted?,
            }
        }
        Ok(())
    }

    /// Says what went wrong; returns how long to wait.
    fn compaction_failed(&self, failure: &CompactionError, failures: u32) -> Duration {
        let wait =
            exponential_backoff_duration(failures, BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS);
        if self.cancel.is_cancelled() {
            tracing::info!("Compaction failed {failures} times, tenant is stopping: {failure}");
        } else {
            tracing::error!("Compaction failed {failures} times, retrying in {wait:?}: {failure}");
        }
        wait
    }
}
