//! The first sizes of timelines: found in the index, or computed from every relation.

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
use crate::tasks::{ExitOnError, LoopKind, TaskKind};
use crate::timeline::{Attempt, InitialSizeCalculation, StorageOperation, Timeline};

use super::Tenant;

/// Seconds until a computation that failed is repeated. Tenants do not move in step.
const RETRY_SECONDS: std::ops::RangeInclusive<u64> = 50 * 60..=70 * 60;

impl Tenant {
    /// Finds or computes the size of a timeline's databases as of now; ingest keeps it up to date.
    pub(super) fn spawn_initial_logical_size(self: &Arc<Self>, timeline: &Arc<Timeline>) {
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
            // Cancel-safe: the size is stored in one step at the end.
            tokio::select! {
                () = timeline.cancel.cancelled() => {}
                () = tenant.calculate_until_known(&timeline, lsn, counted) => {}
            }
            timeline.initial_size_tried();
            Ok::<(), Infallible>(())
        };
        tasks.spawn_on(
            &self.resources.remote.runtime,
            TaskKind::InitialLogicalSizeCalculation,
            ExitOnError::No,
            calculation.instrument(span),
        );
    }

    async fn calculate_until_known<T>(&self, timeline: &Arc<Timeline>, lsn: Lsn, first: T) {
        let mut known = self.calculate_logical_size(timeline, lsn, Attempt::First).await;
        // Whoever waits for the first attempt does not wait for others.
        drop(first);
        timeline.initial_size_tried();
        while !known {
            let seconds = rand::rng().random_range(RETRY_SECONDS);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            known = self.calculate_logical_size(timeline, lsn, Attempt::Retry).await;
        }
    }

    /// Whether the size is known now.
    async fn calculate_logical_size(
        &self,
        timeline: &Arc<Timeline>,
        lsn: Lsn,
        attempt: Attempt,
    ) -> bool {
        utils::pausable_failpoint!("initial-size-calculation-permit-pause");
        let kind = LoopKind::InitialLogicalSizeCalculation;
        // Cancel-safe: a permit that was not handed out stays in the semaphore.
        let permit = tokio::select! {
            permit = self.resources.background.acquire(kind) => Some(permit),
            () = timeline.initial_size_wanted().cancelled() => None,
        };
        let calculation = InitialSizeCalculation::start(attempt, permit.is_none());
        utils::pausable_failpoint!("timeline-calculate-logical-size-pause");
        let _timer = timeline.operations().start(StorageOperation::LogicalSize);
        let kind = TaskKind::InitialLogicalSizeCalculation;
        let ctx = RequestContext::new(kind, DownloadBehavior::Download).without_access_stats();
        let keys = timeline.keys(ctx);
        match Keymap::at(&keys, lsn).logical_blocks().await {
            Ok(blocks) => {
                let bytes = blocks * BLCKSZ as u64;
                timeline.finish_initial_size(calculation, bytes);
                timeline.remote_client.note_logical_size(lsn, bytes);
                true
            }
            // Of this timeline, or of an ancestor that stopped a moment earlier.
            Err(failure) if failure.is_cancel() => {
                tracing::debug!("initial size calculation was cancelled: {failure}");
                false
            }
            // Nothing but a number in the API depends on it.
            Err(failure) => {
                tracing::warn!("initial size calculation failed: {failure}");
                false
            }
        }
    }
}
