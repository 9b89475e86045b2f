//! What runs in the background for an active tenant.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tracing::Instrument;

use crate::tasks::{ExitOnError, TaskKind, TenantLoop};
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
