//! What runs in the background for an active tenant.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use postgres_ffi::BLCKSZ;
use rand::Rng;
use tracing::Instrument;
use utils::Lsn;

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::Keymap;
use crate::keymap::logical_size::CurrentLogicalSize;
use crate::tasks::{ExitOnError, LoopKind, TaskKind, TenantLoop};
use crate::timeline::Timeline;

use super::Tenant;

/// Time between housekeeping rounds when compaction is off.
const DEFAULT_PERIOD: Duration = Duration::from_secs(20);

impl Tenant {
    /// Starts the tenant's loops.
    pub(super) fn spawn_loops(self: &Arc<Self>) {
        self.spawn_compaction_loop();
        self.spawn_eviction_loop();
        let tenant = Arc::clone(self);
        let span = tracing::info_span!(
            parent: None, "ingest_housekeeping",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
        );
        let housekeeping = async move {
            let _counted = TenantLoop::start();
            while tenant.sleep(tenant.housekeeping_period()).await {
                for timeline in tenant.list_timelines() {
                    timeline.ingest_housekeeping();
                }
            }
            Ok::<(), Infallible>(())
        };
        self.tasks.spawn_on(
            &self.resources.remote.runtime,
            TaskKind::IngestHousekeeping,
            ExitOnError::No,
            housekeeping.instrument(span),
        );
    }

    /// Lets a timeline serve, and follow its WAL.
    pub(super) fn activate_timeline(self: &Arc<Self>, timeline: &Arc<Timeline>) {
        self.spawn_initial_logical_size(timeline);
        timeline.activate();
        self.start_receiver(timeline);
    }

    /// Finds or computes the size of a timeline's databases as of now; ingest keeps it up to date.
    fn spawn_initial_logical_size(self: &Arc<Self>, timeline: &Arc<Timeline>) {
        let known = matches!(timeline.logical_size().current(), CurrentLogicalSize::Exact(_));
        if known || !self.tenant_shard_id.is_shard_zero() {
            return;
        }
        // Before ingest starts: what it adds is counted on top.
        let lsn = timeline.last_record_lsn();
        if let Some(bytes) = timeline.remote_client.logical_size_at(lsn) {
            timeline.logical_size().set_initial(bytes);
            return;
        }
        let (tenant, timeline) = (Arc::clone(self), Arc::clone(timeline));
        let span = tracing::info_span!(
            parent: None, "initial_size_calculation",
            tenant_id = %self.tenant_shard_id.tenant_id,
            shard_id = %self.tenant_shard_id.shard_slug(),
            timeline_id = %timeline.timeline_id,
        );
        let tasks = timeline.tasks.clone();
        let counted = self.initial_sizes.token();
        let calculation = async move {
            let _counted = counted;
            // Cancel-safe: the size is stored in one step at the end.
            tokio::select! {
                () = timeline.cancel.cancelled() => {}
                () = tenant.calculate_logical_size(&timeline, lsn) => {}
            }
            Ok::<(), Infallible>(())
        };
        tasks.spawn_on(
            &self.resources.remote.runtime,
            TaskKind::InitialLogicalSizeCalculation,
            ExitOnError::No,
            calculation.instrument(span),
        );
    }

    async fn calculate_logical_size(&self, timeline: &Arc<Timeline>, lsn: Lsn) {
        utils::pausable_failpoint!("initial-size-calculation-permit-pause");
        let kind = LoopKind::InitialLogicalSizeCalculation;
        let _permit = self.resources.background.acquire(kind).await;
        utils::pausable_failpoint!("timeline-calculate-logical-size-pause");
        let kind = TaskKind::InitialLogicalSizeCalculation;
        let ctx = RequestContext::new(kind, DownloadBehavior::Download).without_access_stats();
        let keys = timeline.keys(ctx);
        match Keymap::at(&keys, lsn).logical_blocks().await {
            Ok(blocks) => {
                let bytes = blocks * BLCKSZ as u64;
                timeline.logical_size().set_initial(bytes);
                timeline.remote_client.note_logical_size(lsn, bytes);
            }
            // Of this timeline, or of an ancestor that stopped a moment earlier.
            Err(failure) if failure.is_cancel() => {
                tracing::debug!("initial size calculation was cancelled: {failure}");
            }
            // Nothing but a number in the API depends on it.
            Err(failure) => tracing::warn!("initial size calculation failed: {failure}"),
        }
    }

    /// The compaction period, give or take a little, so that tenants do not move in step.
    fn housekeeping_period(&self) -> Duration {
        let period = match self.tenant_conf.load().effective.compaction_period {
            Duration::ZERO => DEFAULT_PERIOD,
            period => period,
        };
        period.mul_f64(rand::rng().random_range(0.95..=1.05))
    }

    /// Waits until tenants have been loaded, so that those that are loaded early do not hold up the
    /// others. False if the tenant is shut down meanwhile.
    pub(super) async fn wait_for_background_start(&self) -> bool {
        // Both branches are cancel-safe: they only look.
        tokio::select! {
            () = self.resources.background_can_start.cancelled() => true,
            () = self.cancel.cancelled() => false,
        }
    }

    /// False if the tenant is shut down meanwhile.
    pub(super) async fn sleep(&self, period: Duration) -> bool {
        // Both branches are cancel-safe: neither carries state.
        tokio::select! {
            () = tokio::time::sleep(period) => true,
            () = self.cancel.cancelled() => false,
        }
    }
}
