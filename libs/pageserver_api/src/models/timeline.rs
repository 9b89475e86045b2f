//! Timelines as the HTTP API shows them, and requests about them.

use postgres_ffi::PgMajor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utils::{Lsn, TimelineId};

use crate::shard::TenantShardId;

/// Where a timeline is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimelineState {
    /// Being created or loaded.
    Loading,
    /// Serving.
    Active,
    /// Shutting down or being deleted.
    Stopping,
    /// Unusable until its tenant is attached again.
    Broken {
        /// What went wrong.
        reason: String,
        /// Where, for developers; may be empty.
        backtrace: String,
    },
}

impl TimelineState {
    /// A broken state without a backtrace.
    pub fn broken(reason: impl Into<String>) -> Self {
        TimelineState::Broken { reason: reason.into(), backtrace: String::new() }
    }
}

impl std::fmt::Display for TimelineState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TimelineState::Loading => f.write_str("Loading"),
            TimelineState::Active => f.write_str("Active"),
            TimelineState::Stopping => f.write_str("Stopping"),
            TimelineState::Broken { reason, .. } => write!(f, "Broken: {reason}"),
        }
    }
}

/// Body of `POST …/timeline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineCreateRequest {
    /// The id of the new timeline.
    pub new_timeline_id: TimelineId,
    /// The timeline to branch off; absent to run initdb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestor_timeline_id: Option<TimelineId>,
    /// Start from the stored initdb archive of this timeline instead of running initdb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_initdb_timeline_id: Option<TimelineId>,
    /// Where to branch; absent for the end of the ancestor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestor_start_lsn: Option<Lsn>,
    /// PostgreSQL major version; absent for 15. A branch has its ancestor's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pg_version: Option<u32>,
}

impl TimelineCreateRequest {
    /// The version asked for, or 15.
    pub fn pg_major(&self) -> Result<PgMajor, postgres_ffi::version::UnsupportedVersion> {
        self.pg_version.map_or(Ok(PgMajor::V15), PgMajor::try_from)
    }
}

/// Answer of `GET …/timeline/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineInfo {
    /// The shard that was asked.
    pub tenant_id: TenantShardId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// The timeline it branched off.
    pub ancestor_timeline_id: Option<TimelineId>,
    /// Where it branched off.
    pub ancestor_lsn: Option<Lsn>,
    /// End of the last ingested record.
    pub last_record_lsn: Lsn,
    /// End of the record before; `0/0` when unknown.
    pub prev_record_lsn: Option<Lsn>,
    /// Reads below this are refused.
    pub latest_gc_cutoff_lsn: Lsn,
    /// Everything up to here is in layer files.
    pub disk_consistent_lsn: Lsn,
    /// Everything up to here is in remote storage, as far as this node knows.
    pub remote_consistent_lsn: Lsn,
    /// The same after validation of the generation: what safekeepers are told.
    pub remote_consistent_lsn_visible: Lsn,
    /// Where the timeline's root began.
    pub initdb_lsn: Lsn,
    /// Bytes of the databases.
    pub current_logical_size: u64,
    /// Whether that size is exact.
    pub current_logical_size_is_accurate: bool,
    /// Entries of the directories: databases, two-phase, relations, aux files, clog, multixact
    /// members, multixact offsets.
    pub directory_entries_counts: Vec<u64>,
    /// Bytes of all layers, here or remote.
    pub current_physical_size: Option<u64>,
    /// The logical size computed from scratch, if asked for.
    pub current_logical_size_non_incremental: Option<u64>,
    /// Bytes of WAL within the time-based retention.
    pub pitr_history_size: u64,
    /// Whether the branch point lies within the ancestor's time-based retention.
    pub within_ancestor_pitr: bool,
    /// Always null.
    pub timeline_dir_layer_file_size_sum: Option<u64>,
    /// The safekeeper that WAL comes from.
    pub wal_source_connstr: Option<String>,
    /// Last position received.
    pub last_received_msg_lsn: Option<Lsn>,
    /// When it was received, in microseconds since the Unix epoch.
    pub last_received_msg_ts: Option<u64>,
    /// PostgreSQL major version; 0 when the timeline could not be loaded.
    pub pg_version: u32,
    /// Where it is in its life.
    pub state: TimelineState,
    /// What the WAL receiver is doing, for people.
    pub walreceiver_status: String,
    /// How auxiliary files are stored.
    pub last_aux_file_policy: Option<String>,
}

/// Query of `PUT …/checkpoint` and `PUT …/compact`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointOptions {
    /// Recompute how keys are cut into layers.
    #[serde(default)]
    pub force_repartition: bool,
    /// Write image layers whatever the thresholds say.
    #[serde(default)]
    pub force_image_layer_creation: bool,
    /// Answer only when everything is in remote storage.
    #[serde(default)]
    pub wait_until_uploaded: bool,
}

/// Body of `PUT …/do_gc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcRequest {
    /// Bytes of WAL to keep; null for the tenant's `gc_horizon`.
    #[serde(default)]
    pub gc_horizon: Option<u64>,
}

/// Answer of `PUT …/do_gc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcResult {
    /// Candidates looked at.
    pub layers_total: u64,
    /// Kept: newer than the size-based horizon.
    pub layers_needed_by_cutoff: u64,
    /// Kept: newer than the time-based horizon.
    pub layers_needed_by_pitr: u64,
    /// Kept: a branch reads them.
    pub layers_needed_by_branches: u64,
    /// Kept: leased.
    pub layers_needed_by_leases: u64,
    /// Kept: no newer image covers them.
    pub layers_not_updated: u64,
    /// Removed.
    pub layers_removed: u64,
    /// Milliseconds it took.
    pub elapsed: u64,
}

/// Body of `POST …/lsn_lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LsnLeaseRequest {
    /// The position to keep readable.
    pub lsn: Lsn,
}

/// Answer of `POST …/lsn_lease`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LsnLease {
    /// When the lease ends: RFC 3339 with milliseconds.
    pub valid_until: String,
}

/// Answer of `PUT …/detach_ancestor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AncestorDetached {
    /// Timelines that were branches of the ancestor and are branches of the timeline now.
    pub reparented_timelines: Vec<TimelineId>,
}

/// How a timestamp relates to the known commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LsnByTimestampKind {
    /// Commits lie before and after it.
    Present,
    /// Every commit is older.
    Future,
    /// Every commit is newer.
    Past,
    /// No commit is known.
    NoData,
}

/// Answer of `GET …/get_lsn_by_timestamp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LsnByTimestamp {
    /// The position found.
    pub lsn: Lsn,
    /// What it means.
    pub kind: LsnByTimestampKind,
    /// When the lease on it ends, if one was asked for and granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}
