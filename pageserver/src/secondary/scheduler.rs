//! Runs the periodic work on heatmaps: uploads of attached locations, downloads of secondary ones.
//!
//! Each location has a period of its own. The scheduler looks at all of them every now and then,
//! and does what is due, so many at a time. Requests by HTTP do not come through here: they go to
//! the location at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use pageserver_api::shard::TenantShardId;
use rand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use super::{HeatmapUploadError, SecondaryTenant, upload_heatmap};
use crate::config::AttachMode;
use crate::tasks::{LoopKind, warn_when_period_overrun};
use crate::tenant::{Tenant, TenantManager};

/// Bounds of the time between looks at all locations.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What a scheduler sees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Uploads of heatmaps.
    Upload,
    /// Downloads of secondary locations.
    Download,
}

/// Work on one location.
enum Job {
    Upload(Arc<Tenant>),
    Download(Arc<SecondaryTenant>),
}

impl Job {
    async fn run(self) {
        match self {
            Job::Upload(tenant) => match upload_heatmap(&tenant, false).await {
                Ok(_) | Err(HeatmapUploadError::Cancelled | HeatmapUploadError::NotActive) => {}
                Err(failure) => warn!("{failure}"),
            },
            // Failures are logged where they happen; the next period brings another attempt.
            Job::Download(secondary) => {
                secondary.download(None).await;
            }
        }
    }
}

/// When each location is due.
#[derive(Default)]
struct Schedule {
    due: BTreeMap<TenantShardId, Instant>,
}

impl Schedule {
    /// The locations that are due, longest overdue first. New ones wait a random part of their
    /// period, so that they do not move in step; those that are gone are forgotten.
    fn take_due<T>(
        &mut self,
        present: Vec<(TenantShardId, Duration, T)>,
        now: Instant,
    ) -> Vec<(TenantShardId, Duration, T)> {
        let mut due: Vec<(Instant, TenantShardId, Duration, T)> = Vec::new();
        let mut next = BTreeMap::new();
        for (shard, period, job) in present {
            let first = || now + period.mul_f64(rand::rng().random_range(0.0..=1.0));
            let at = self.due.get(&shard).copied().unwrap_or_else(first);
            // A period that became shorter counts at once.
            let at = at.min(now + jittered(period));
            if at <= now {
                next.insert(shard, now + jittered(period));
                due.push((at, shard, period, job));
            } else {
                next.insert(shard, at);
            }
        }
        self.due = next;
        due.sort_by_key(|(at, shard, ..)| (*at, *shard));
        due.into_iter().map(|(_, shard, period, job)| (shard, period, job)).collect()
    }

    /// How long to sleep.
    fn wait(&self, now: Instant) -> Duration {
        let (shortest, longest) = LOOK_INTERVAL;
        let first = self.due.values().min().map(|due| due.saturating_duration_since(now));
        first.unwrap_or(longest).clamp(shortest, longest)
    }
}

fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::rng().random_range(0.95..=1.05))
}

/// What is due and what is under way.
struct Work {
    activity: Activity,
    /// Jobs at once.
    concurrency: usize,
    /// Due, but waiting for a place.
    queue: VecDeque<(TenantShardId, Duration, Job)>,
    /// Each ends with the location it was for.
    running: FuturesUnordered<BoxFuture<'static, TenantShardId>>,
    /// The locations that are queued or under way: none is worked on twice at once.
    busy: BTreeSet<TenantShardId>,
}

impl Work {
    fn add(&mut self, due: Vec<(TenantShardId, Duration, Job)>) {
        for (shard, period, job) in due {
            if self.busy.insert(shard) {
                self.queue.push_back((shard, period, job));
            }
        }
        self.fill();
    }

    fn ended(&mut self, shard: TenantShardId) {
        self.busy.remove(&shard);
        self.fill();
    }

    fn fill(&mut self) {
        while self.running.len() < self.concurrency {
            let Some((shard, period, job)) = self.queue.pop_front() else { return };
            let activity = self.activity;
            let job = async move {
                run_job(activity, shard, period, job).await;
                shard
            };
            self.running.push(job.boxed());
        }
    }
}

/// Sees to one activity, so many locations at once, until cancelled.
pub async fn run(
    activity: Activity,
    tenants: Arc<TenantManager>,
    concurrency: usize,
    cancel: CancellationToken,
) {
    let mut schedule = Schedule::default();
    let mut work = Work {
        activity,
        concurrency,
        queue: VecDeque::new(),
        running: FuturesUnordered::new(),
        busy: BTreeSet::new(),
    };
    let mut next_look = Instant::now() + schedule.wait(Instant::now());
    loop {
        // All branches are cancel-safe: a job that is not done stays in the set.
        tokio::select! {
            () = tokio::time::sleep_until(next_look) => {
                let now = Instant::now();
                work.add(schedule.take_due(candidates(activity, &tenants), now));
                next_look = now + schedule.wait(now);
            }
            Some(shard) = work.running.next() => work.ended(shard),
            () = cancel.cancelled() => {
                info!("background work on heatmaps ends");
                return;
            }
        }
    }
}

async fn run_job(activity: Activity, shard: TenantShardId, period: Duration, job: Job) {
    let (kind, span) = match activity {
        Activity::Upload => (
            LoopKind::HeatmapUpload,
            tracing::info_span!(parent: None, "heatmap_upload",
                tenant_id = %shard.tenant_id, shard_id = %shard.shard_slug()),
        ),
        Activity::Download => (LoopKind::SecondaryDownload, tracing::Span::none()),
    };
    let started = Instant::now();
    job.run().instrument(span).await;
    warn_when_period_overrun(started.elapsed(), period, kind);
}

/// The locations that want this activity, and how often.
fn candidates(activity: Activity, tenants: &TenantManager) -> Vec<(TenantShardId, Duration, Job)> {
    match activity {
        Activity::Upload => {
            let tenants = tenants.attached().into_iter();
            tenants
                .filter_map(|tenant| {
                    let conf = tenant.tenant_conf.load();
                    let period = conf.effective.heatmap_period;
                    let wanted = !period.is_zero()
                        && conf.attach_mode != AttachMode::Stale
                        && !conf.generation.is_none();
                    wanted.then(|| (tenant.tenant_shard_id, period, Job::Upload(tenant)))
                })
                .collect()
        }
        Activity::Download => tenants
            .secondaries()
            .into_iter()
            .filter(|secondary| secondary.is_warm())
            .map(|secondary| {
                (secondary.tenant_shard_id, secondary.period(), Job::Download(secondary))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
