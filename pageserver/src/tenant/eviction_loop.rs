//! Evicts unused layers of the timelines of an active tenant, at intervals.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{HistogramVec, register_histogram_vec};
use pageserver_api::models::tenant_config::{EvictionPolicy, EvictionThreshold};
use rand::Rng;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, warn};
use utils::TimelineId;

use super::Tenant;
use crate::context::{DownloadBehavior, RequestContext};
use crate::tasks::{ExitOnError, LoopKind, TaskKind, TenantLoop, warn_when_period_overrun};
use crate::timeline::{EvictionStats, Timeline};

/// Time between looks at the configuration while there is no policy.
const NO_POLICY_POLL: Duration = Duration::from_secs(10);

static ITERATION_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "pageserver_eviction_iteration_duration_seconds_global",
        "Seconds that rounds of eviction by age take",
        &["period_secs", "threshold_secs"],
        vec![0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]
    )
    .expect("a metric is registered once")
});

/// When accesses to each timeline were last imitated.
type Imitated = BTreeMap<TimelineId, Instant>;

impl Tenant {
    /// Starts the loop. One for the whole tenant: its timelines share the policy.
    pub(super) fn spawn_eviction_loop(self: &Arc<Self>) {
        let tenant = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "eviction_task",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
        );
        let eviction = async move {
            let _counted = TenantLoop::start();
            if !tenant.wait_for_background_start().await {
                return Ok::<(), Infallible>(());
            }
            let mut imitated = Imitated::new();
            // Tenants that start together should not evict together.
            let first = period_of(tenant.eviction_policy());
            let mut wait = first.mul_f64(rand::rng().random_range(0.0..=1.0));
            while tenant.sleep(wait).await {
                let started = Instant::now();
                let policy = tenant.eviction_policy();
                // Boxed while it runs: a loop that waits has no use for the room.
                Box::pin(tenant.apply_eviction_policy(policy, &mut imitated)).await;
                wait = period_of(policy).saturating_sub(started.elapsed());
            }
            Ok(())
        };
        let runtime = &self.resources.remote.runtime;
        let eviction = eviction.instrument(span);
        self.tasks.spawn_on(runtime, TaskKind::Eviction, ExitOnError::No, eviction);
    }

    fn eviction_policy(&self) -> EvictionPolicy {
        self.tenant_conf.load().effective.eviction_policy
    }

    async fn apply_eviction_policy(&self, policy: EvictionPolicy, imitated: &mut Imitated) {
        let (rule, evict) = match policy {
            EvictionPolicy::NoEviction => return,
            EvictionPolicy::LayerAccessThreshold(rule) => (rule, true),
            EvictionPolicy::OnlyImitiate(rule) => (rule, false),
        };
        let timelines = self.list_timelines();
        imitated.retain(|id, _| timelines.iter().any(|timeline| timeline.timeline_id == *id));
        for timeline in timelines.iter().filter(|timeline| timeline.is_active()) {
            let started = Instant::now();
            self.imitate_accesses(timeline, rule, imitated).await;
            if evict {
                // Both branches are cancel-safe: an eviction goes on by itself.
                tokio::select! {
                    stats = timeline.evict_unused(rule.threshold) => report(timeline, stats),
                    () = self.cancel.cancelled() => return,
                }
            }
            let labels =
                [&rule.period.as_secs().to_string(), &rule.threshold.as_secs().to_string()];
            let elapsed = started.elapsed();
            ITERATION_DURATION.with_label_values(&labels).observe(elapsed.as_secs_f64());
            warn_when_period_overrun(elapsed, rule.period, LoopKind::Eviction);
        }
    }

    /// Touches what a restart needs, before it is old enough to go.
    async fn imitate_accesses(
        &self,
        timeline: &Arc<Timeline>,
        rule: EvictionThreshold,
        imitated: &mut Imitated,
    ) {
        // Other shards compute neither sizes nor key spaces of the whole tenant.
        if !self.tenant_shard_id.is_shard_zero() {
            return;
        }
        let interval = match rule.threshold.checked_sub(rule.period) {
            Some(interval) if !interval.is_zero() => interval,
            Some(_) | None => rule.threshold,
        };
        let id = timeline.timeline_id;
        if imitated.get(&id).is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        let ctx = RequestContext::new(TaskKind::Eviction, DownloadBehavior::Warn);
        let imitation = async {
            let _permit = self.resources.background.acquire(LoopKind::Eviction).await;
            timeline.imitate_accesses(ctx).await
        };
        // Cancel-safe: reading changes nothing.
        tokio::select! {
            () = timeline.cancel.cancelled() => {}
            outcome = imitation => match outcome {
                Ok(()) => {
                    imitated.insert(id, Instant::now());
                }
                Err(failure) if failure.is_cancel() => {}
                Err(failure) => warn!(timeline_id = %id, "imitating accesses failed: {failure}"),
            }
        }
    }
}

fn period_of(policy: EvictionPolicy) -> Duration {
    match policy {
        EvictionPolicy::NoEviction => NO_POLICY_POLL,
        EvictionPolicy::LayerAccessThreshold(rule) | EvictionPolicy::OnlyImitiate(rule) => {
            // A period of zero would keep a core busy with looking.
            rule.period.max(Duration::from_millis(100))
        }
    }
}

fn report(timeline: &Timeline, stats: EvictionStats) {
    let timeline_id = timeline.timeline_id;
    if stats.candidates == stats.not_evicted {
        debug!(%timeline_id, ?stats, "eviction iteration complete");
    } else if stats.timeouts > 0 {
        warn!(%timeline_id, ?stats, "eviction iteration complete");
    } else {
        info!(%timeline_id, ?stats, "eviction iteration complete");
    }
}
