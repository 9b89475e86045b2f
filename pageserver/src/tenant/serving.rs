//! The tenants of this node as the page service sees them.
//!
//! Translates between the two rooms' types; decides nothing.

use std::sync::Arc;
use std::time::SystemTime;

use pageserver_api::ShardIdentity;
use postgres_ffi::PgMajor;
use tokio_util::sync::CancellationToken;
use utils::gate::GateGuard;
use utils::{Lsn, TenantId, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::ingest::import::tarball::TarChunks;
use crate::page_service::{
    ImportFailure, LastRecord, LeaseError, LookupError, ServedTimeline,
    ShardSelector as WantedShard, TenantSettings, TimelineDirectory, WaitError,
};
use crate::tasks::TaskKind;
use crate::timeline::{TimelineKeys, WaitLsnError};

use super::manager::{GetActiveTimelineError, ShardSelector};
use super::slots::SlotError;
use super::{GetTimelineError, TenantManager, WaitToBecomeActiveError};

/// Who reads on behalf of computes.
const CONTEXT: RequestContext =
    RequestContext::new(TaskKind::PageRequestHandler, DownloadBehavior::Download);

impl From<WantedShard> for ShardSelector {
    fn from(wanted: WantedShard) -> Self {
        match wanted {
            WantedShard::Zero => ShardSelector::Zero,
            WantedShard::First => ShardSelector::First,
            WantedShard::Page(key) => ShardSelector::Page(key),
            WantedShard::Known(index) => ShardSelector::Known(index),
        }
    }
}

impl From<GetActiveTimelineError> for LookupError {
    fn from(error: GetActiveTimelineError) -> Self {
        let text = error.to_string();
        match error {
            GetActiveTimelineError::TenantNotFound(_)
            | GetActiveTimelineError::Slot(SlotError::NotFound(_))
            | GetActiveTimelineError::Timeline(
                GetTimelineError::NotFound { .. } | GetTimelineError::NotActive { .. },
            ) => LookupError::NotFound(text),
            GetActiveTimelineError::Slot(SlotError::InProgress(_) | SlotError::Initializing)
            | GetActiveTimelineError::Tenant(WaitToBecomeActiveError::Timeout { .. }) => {
                LookupError::Timeout(text)
            }
            GetActiveTimelineError::Slot(SlotError::ShuttingDown)
            | GetActiveTimelineError::Tenant(WaitToBecomeActiveError::WillNotBecomeActive(_)) => {
                LookupError::ShuttingDown
            }
            GetActiveTimelineError::Tenant(WaitToBecomeActiveError::Broken(_))
            | GetActiveTimelineError::Timeline(GetTimelineError::Broken { .. }) => {
                LookupError::Broken(text)
            }
        }
    }
}

impl TimelineDirectory for TenantManager {
    type Timeline = TimelineKeys;

    async fn timeline(
        &self,
        tenant: TenantId,
        shard: WantedShard,
        timeline: TimelineId,
    ) -> Result<Arc<TimelineKeys>, LookupError> {
        let found = self.get_active_timeline(tenant, shard.into(), timeline).await?;
        Ok(Arc::new(found.keys(CONTEXT)))
    }

    async fn settings(&self, tenant: TenantId) -> Result<TenantSettings, LookupError> {
        let tenant = self.get_active_tenant(tenant, ShardSelector::Zero).await?;
        let conf = &tenant.tenant_conf.load().effective;
        Ok(TenantSettings {
            checkpoint_distance: conf.checkpoint_distance,
            checkpoint_timeout: conf.checkpoint_timeout,
            compaction_target_size: conf.compaction_target_size,
            compaction_period: conf.compaction_period,
            compaction_threshold: conf.compaction_threshold as u64,
            gc_horizon: conf.gc_horizon,
            gc_period: conf.gc_period,
            image_creation_threshold: conf.image_creation_threshold as u64,
            pitr_interval: conf.pitr_interval,
        })
    }

    async fn import_basebackup(
        &self,
        (tenant, timeline): (TenantId, TimelineId),
        base_lsn: Lsn,
        major: PgMajor,
        tar: TarChunks,
    ) -> Result<(), ImportFailure> {
        let found = self.get_active_tenant(tenant, ShardSelector::Zero).await;
        let tenant = found.map_err(LookupError::from)?;
        let imported = tenant.import_basebackup(timeline, base_lsn, major, tar).await;
        imported.map(drop).map_err(import_failure)
    }

    async fn import_wal(
        &self,
        (tenant, timeline): (TenantId, TimelineId),
        range: (Lsn, Lsn),
        tar: TarChunks,
    ) -> Result<(), ImportFailure> {
        let found = self.get_active_tenant(tenant, ShardSelector::Zero).await;
        let tenant = found.map_err(LookupError::from)?;
        tenant.import_wal(timeline, range, tar).await.map_err(import_failure)
    }
}

/// An error with its causes.
fn import_failure(error: impl std::error::Error + Send + Sync + 'static) -> ImportFailure {
    ImportFailure::Import(format!("{:#}", anyhow::Error::new(error)))
}

impl ServedTimeline for TimelineKeys {
    type Guard = GateGuard;

    fn major(&self) -> PgMajor {
        self.timeline().pg_major
    }

    fn shard_identity(&self) -> ShardIdentity {
        self.timeline().shard_identity
    }

    fn last_record(&self) -> LastRecord {
        let record = self.timeline().last_record_rlsn();
        LastRecord { last: record.last, prev: record.prev }
    }

    fn is_branch_point(&self, lsn: Lsn) -> bool {
        let timeline = self.timeline();
        timeline.ancestor().is_some_and(|(_, branch_point)| branch_point == lsn)
            || timeline.remote_client.was_branched_at(lsn)
    }

    fn gc_cutoff_lsn(&self) -> Lsn {
        self.timeline().latest_gc_cutoff_lsn()
    }

    async fn wait_lsn(&self, lsn: Lsn) -> Result<(), WaitError> {
        self.timeline().wait_lsn(lsn, &CONTEXT).await.map_err(|error| match error {
            WaitLsnError::Timeout(text) => WaitError::Timeout(text),
            WaitLsnError::BadState(text) => WaitError::BadState(text),
            WaitLsnError::Shutdown => WaitError::ShuttingDown,
        })
    }

    fn lease_lsn(&self, lsn: Lsn) -> Result<SystemTime, LeaseError> {
        let cutoff = self.gc_cutoff_lsn();
        if lsn < cutoff {
            return Err(LeaseError::GarbageCollected { lsn, cutoff });
        }
        let length = self.timeline().tenant_conf.load().effective.lsn_lease_length;
        Ok(SystemTime::now() + length)
    }

    fn cancellation(&self) -> CancellationToken {
        self.timeline().cancel.clone()
    }

    fn enter(&self) -> Option<GateGuard> {
        self.timeline().gate.enter().ok()
    }

    fn uses_lazy_slru_download(&self) -> bool {
        self.timeline().tenant_conf.load().effective.lazy_slru_download
    }
}
