//! Rounds of eviction: at intervals, and on request.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rand::Rng;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::candidates::{EvictableLayer, collect};
use super::disk::{DiskUsage, DiskUsageError};
use super::metrics::{EVICTED, SELECTED};
use super::plan::{self, Candidate, Planned, Usage};
use crate::config::{DiskUsageEvictionConfig, EvictionOrder, PageServerConf};
use crate::tasks::{LoopKind, warn_when_period_overrun};
use crate::tenant::TenantManager;

/// Evictions at once.
const CONCURRENCY: usize = 1000;
/// How long a round may take before the log says so.
const QUIET_ROUND: Duration = Duration::from_secs(10);

/// A round could not take place.
#[derive(Debug, thiserror::Error)]
pub enum DiskEvictionError {
    /// Another one is under way.
    #[error("iteration is already executing")]
    AlreadyExecuting,
    /// The disk could not be looked at.
    #[error(transparent)]
    Usage(#[from] DiskUsageError),
}

/// What became of a round. Also part of the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub enum Outcome<U> {
    /// There was nothing to do.
    NoPressure,
    /// The process is shutting down.
    Cancelled,
    /// Layers were evicted.
    Finished(Finished<U>),
}

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finished<U> {
    /// The usage before.
    before: U,
    /// What the plan would have brought.
    planned: Planned<U>,
    /// What is assumed to have been achieved.
    assumed: Assumed<U>,
}

/// What a round is assumed to have achieved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Assumed<U> {
    /// The usage without the evicted layers.
    projected_after: U,
    /// The layers that stayed.
    failed: Failed,
}

/// Layers that stayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failed {
    file_sizes: u64,
    count: usize,
}

/// Evicts layers of this node.
pub struct DiskEvictor {
    conf: &'static PageServerConf,
    tenants: Arc<TenantManager>,
    cancel: CancellationToken,
    /// Held during a round.
    round: tokio::sync::Mutex<()>,
}

impl DiskEvictor {
    /// An evictor for all tenants of the node.
    pub fn new(
        conf: &'static PageServerConf,
        tenants: Arc<TenantManager>,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(DiskEvictor { conf, tenants, cancel, round: tokio::sync::Mutex::new(()) })
    }

    /// Looks at the disk at intervals until cancelled.
    pub async fn run(self: Arc<Self>, config: DiskUsageEvictionConfig) {
        let mut wait = config.period.mul_f64(rand::rng().random_range(0.0..=1.0));
        for iteration_no in 0_u64.. {
            // Both branches are cancel-safe: neither carries state.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.cancel.cancelled() => return,
            }
            let started = Instant::now();
            let span = tracing::info_span!(
                parent: None, "disk_usage_eviction_task:iteration", iteration_no);
            self.relieve_disk(&config).instrument(span).await;
            let elapsed = started.elapsed();
            warn_when_period_overrun(elapsed, config.period, LoopKind::DiskUsageEviction);
            wait = config.period.saturating_sub(elapsed);
        }
    }

    async fn relieve_disk(&self, config: &DiskUsageEvictionConfig) {
        if let Err(failure) = self.try_relieve_disk(config).await {
            match failure {
                DiskEvictionError::Usage(failure) => {
                    error!("iteration failed, unexpected error: {failure}");
                }
                DiskEvictionError::AlreadyExecuting => {
                    info!("disk_usage_eviction_iteration skipped: {failure}");
                }
            }
        }
    }

    async fn try_relieve_disk(
        &self,
        config: &DiskUsageEvictionConfig,
    ) -> Result<(), DiskEvictionError> {
        let before = self.measure(config).await?;
        let outcome = self.evict(before, config.eviction_order).await?;
        if let Outcome::Finished(_) = &outcome {
            let after = self.measure(config).await?;
            if after.has_pressure() {
                warn!(?outcome, ?after, "disk usage still high");
            } else {
                info!(?outcome, ?after, "disk usage pressure relieved");
            }
        }
        Ok(())
    }

    async fn measure(&self, config: &DiskUsageEvictionConfig) -> Result<DiskUsage, DiskUsageError> {
        let (directory, config) = (self.conf.tenants_path(), config.clone());
        let measure = move || DiskUsage::measure(&directory, &config);
        // A panic in there is a bug in a mock.
        tokio::task::spawn_blocking(measure)
            .await
            .unwrap_or(Err(DiskUsageError::Statvfs(nix::errno::Errno::EINTR)))
    }

    /// One round.
    pub async fn evict<U: Usage + std::fmt::Debug>(
        &self,
        usage: U,
        order: EvictionOrder,
    ) -> Result<Outcome<U>, DiskEvictionError> {
        let _round = self.round.try_lock().map_err(|_| DiskEvictionError::AlreadyExecuting)?;
        if !usage.has_pressure() {
            return Ok(Outcome::NoPressure);
        }
        warn!(usage_pre = ?usage, "running disk usage based eviction due to pressure");
        let mut candidates = collect(&self.tenants, order);
        plan::sort(&mut candidates, order);
        let (count, planned) = plan::select(&candidates, usage);
        candidates.truncate(count);
        SELECTED.inc_by(count as u64);
        // Both branches are cancel-safe: evictions under way go on by themselves.
        let (freed_bytes, failed) = tokio::select! {
            done = evict_all(candidates) => done,
            () = self.cancel.cancelled() => return Ok(Outcome::Cancelled),
        };
        let assumed = Assumed { projected_after: usage.with_freed(freed_bytes), failed };
        Ok(Outcome::Finished(Finished { before: usage, planned, assumed }))
    }
}

/// Evicts the layers. Returns the bytes freed, and what stayed.
async fn evict_all(candidates: Vec<Candidate<EvictableLayer>>) -> (u64, Failed) {
    let evictions = candidates
        .into_iter()
        .map(|candidate| async move { (candidate.size_bytes, candidate.layer.evict().await) });
    let all = futures::stream::iter(evictions).buffer_unordered(CONCURRENCY);
    let all = all.fold((0, Failed::default()), |(freed, mut failed), (bytes, gone)| async move {
        if gone {
            EVICTED.inc();
            return (freed + bytes, failed);
        }
        failed.count += 1;
        failed.file_sizes += bytes;
        (freed, failed)
    });
    tokio::pin!(all);
    if let Ok(done) = tokio::time::timeout(QUIET_ROUND, &mut all).await {
        return done;
    }
    info!("still ongoing");
    all.await
}
