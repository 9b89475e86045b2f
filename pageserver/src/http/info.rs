//! Builds the description of a timeline.

use std::sync::Arc;
use std::time::SystemTime;

use http_server::ApiError;
use http_server::extract::QueryParams;
use pageserver_api::models::{TimelineInfo, TimelineState};
use pageserver_api::shard::TenantShardId;
use utils::{Lsn, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::Keymap;
use crate::keymap::logical_size::CurrentLogicalSize;
use crate::tasks::TaskKind;
use crate::tenant::Tenant;
use crate::timeline::{self, Timeline};

/// What a caller wants to know beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Compute the logical size from scratch.
    pub non_incremental_size: bool,
    /// Wait for the first computation of the logical size.
    pub await_initial_size: bool,
}

impl Options {
    pub fn parse(query: &QueryParams) -> Result<Self, ApiError> {
        let flag = |name| query.parse::<bool>(name).map(Option::unwrap_or_default);
        Ok(Options {
            non_incremental_size: flag("include-non-incremental-logical-size")?,
            await_initial_size: flag("force-await-initial-logical-size")?,
        })
    }
}

/// Describes a timeline.
pub async fn timeline_info(
    tenant: &Tenant,
    timeline: &Arc<Timeline>,
    options: Options,
) -> Result<TimelineInfo, ApiError> {
    if options.await_initial_size {
        timeline.await_initial_size().await;
    }
    let record = timeline.last_record_rlsn();
    let ancestor_lsn = timeline.ancestor_lsn();
    let size = timeline.logical_size().current();
    let non_incremental = match options.non_incremental_size {
        true => Some(compute_logical_size(timeline, record.last).await?),
        false => None,
    };
    let received = tenant.last_received_wal(timeline.timeline_id);
    Ok(TimelineInfo {
        tenant_id: timeline.tenant_shard_id,
        timeline_id: timeline.timeline_id,
        ancestor_timeline_id: timeline.ancestor_timeline_id(),
        ancestor_lsn: ancestor_lsn.is_valid().then_some(ancestor_lsn),
        last_record_lsn: record.last,
        prev_record_lsn: Some(record.prev),
        latest_gc_cutoff_lsn: timeline.latest_gc_cutoff_lsn(),
        disk_consistent_lsn: timeline.disk_consistent_lsn(),
        remote_consistent_lsn: timeline.remote_consistent_lsn_projected().unwrap_or(Lsn::INVALID),
        remote_consistent_lsn_visible: timeline.remote_consistent_lsn_visible(),
        initdb_lsn: timeline.initdb_lsn(),
        current_logical_size: size.bytes(),
        current_logical_size_is_accurate: matches!(size, CurrentLogicalSize::Exact(_)),
        current_logical_size_non_incremental: non_incremental,
        directory_entries_counts: timeline.directory_counts().all(),
        current_physical_size: Some(timeline.current_physical_size()),
        pitr_history_size: 0,
        within_ancestor_pitr: false,
        timeline_dir_layer_file_size_sum: None,
        wal_source_connstr: received.as_ref().map(|wal| wal.source.to_string()),
        last_received_msg_lsn: received.as_ref().map(|wal| wal.end_lsn),
        last_received_msg_ts: received.and_then(|wal| unix_micros(wal.at)),
        pg_version: timeline.pg_major.number(),
        state: state(timeline.current_state()),
        walreceiver_status: tenant.receiver_status(timeline.timeline_id),
        last_aux_file_policy: timeline
            .remote_client
            .aux_file_policy()
            .map(|policy| policy.name().to_owned()),
    })
}

fn unix_micros(at: SystemTime) -> Option<u64> {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since_epoch.as_micros()).ok()
}

async fn compute_logical_size(timeline: &Arc<Timeline>, lsn: Lsn) -> Result<u64, ApiError> {
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    let keys = timeline.keys(ctx);
    let blocks = Keymap::at(&keys, lsn).logical_blocks().await.map_err(ApiError::internal)?;
    Ok(blocks * postgres_ffi::BLCKSZ as u64)
}

/// Describes a timeline that could not be loaded: its state is all there is to tell.
pub fn unloadable_info(shard: TenantShardId, timeline: TimelineId, reason: String) -> TimelineInfo {
    TimelineInfo {
        tenant_id: shard,
        timeline_id: timeline,
        ancestor_timeline_id: None,
        ancestor_lsn: None,
        last_record_lsn: Lsn::INVALID,
        prev_record_lsn: None,
        latest_gc_cutoff_lsn: Lsn::INVALID,
        disk_consistent_lsn: Lsn::INVALID,
        remote_consistent_lsn: Lsn::INVALID,
        remote_consistent_lsn_visible: Lsn::INVALID,
        initdb_lsn: Lsn::INVALID,
        current_logical_size: 0,
        current_logical_size_is_accurate: false,
        current_logical_size_non_incremental: None,
        directory_entries_counts: vec![0; 7],
        current_physical_size: None,
        pitr_history_size: 0,
        within_ancestor_pitr: false,
        timeline_dir_layer_file_size_sum: None,
        wal_source_connstr: None,
        last_received_msg_lsn: None,
        last_received_msg_ts: None,
        pg_version: 0,
        state: TimelineState::broken(reason),
        walreceiver_status: "stopping or stopped".to_owned(),
        last_aux_file_policy: None,
    }
}

fn state(state: timeline::TimelineState) -> TimelineState {
    match state {
        timeline::TimelineState::Loading => TimelineState::Loading,
        timeline::TimelineState::Active => TimelineState::Active,
        timeline::TimelineState::Stopping => TimelineState::Stopping,
        timeline::TimelineState::Broken { reason, backtrace } => {
            TimelineState::Broken { reason, backtrace }
        }
    }
}
