//! Bodies of the safekeeper's HTTP API.
//!
//! Field names and forms are the contract: LSNs are `HI/LO` strings, ids hexadecimal strings,
//! terms and node ids integers.

mod copies;
mod status;

use serde::{Deserialize, Serialize};
use utils::{Lsn, NodeId, TenantId, TimelineId};

pub use copies::{
    ControlFilePatch, ControlFilePatchResult, PullTimelineRequest, PullTimelineResponse,
    TimelineCopyRequest, TimelineDigest,
};
pub use status::{
    AcceptorStateStatus, HotStandbyFeedback, PageserverFeedbackStatus, PeerInfo, PgInfo,
    ReplicationFeedback, StandbyFeedback, StandbyReply, TermLsn, TimelineStatus, Ttid,
    WalReceiverState, WalReceiverStatus, WalSenderState,
};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The number this safekeeper was given on its first start.
    pub id: NodeId,
}

/// `POST /v1/tenant/timeline`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimelineCreateRequest {
    /// The owner.
    pub tenant_id: TenantId,
    /// The timeline to create; an existing one is left as it is.
    pub timeline_id: TimelineId,
    /// Accepted and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_ids: Option<Vec<NodeId>>,
    /// `PG_VERSION_NUM` form, such as 150018.
    pub pg_version: u32,
    /// Identifier of the cluster; 0 or absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<u64>,
    /// Bytes per WAL segment; 16 MiB when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_seg_size: Option<u32>,
    /// WAL up to here is known committed; 0/0 for a timeline that starts empty.
    pub commit_lsn: Lsn,
    /// Where this safekeeper's WAL will begin; the start of the segment of `commit_lsn` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_start_lsn: Option<Lsn>,
}

/// What `DELETE` of one timeline answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineDeleteResult {
    /// The timeline's directory was there.
    pub dir_existed: bool,
    /// The timeline had a compute or WAL still to hand over.
    pub was_active: bool,
}

/// `POST /v1/record_safekeeper_info/:tenant/:timeline`: peer state made by hand.
///
/// Absent positions are 0/0, which changes nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SafekeeperTimelineInfo {
    /// Term the peer voted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// Term of the end of the peer's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_log_term: Option<u64>,
    /// Durable end of the peer's WAL.
    #[serde(default)]
    pub flush_lsn: Lsn,
    /// The peer's commit position.
    #[serde(default)]
    pub commit_lsn: Lsn,
    /// Archived up to here.
    #[serde(default)]
    pub backup_lsn: Lsn,
    /// Pageservers have everything below in their object storage.
    #[serde(default)]
    pub remote_consistent_lsn: Lsn,
    /// Every safekeeper has everything below.
    #[serde(default)]
    pub peer_horizon_lsn: Lsn,
    /// Where the peer's WAL begins.
    #[serde(default)]
    pub local_start_lsn: Lsn,
    /// The peer's WAL service, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safekeeper_connstr: Option<String>,
    /// The peer's HTTP service, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_connstr: Option<String>,
    /// Lowest position replayed by a standby of the peer; 0/0 without one.
    #[serde(default)]
    pub standby_horizon: Lsn,
}

#[cfg(test)]
mod tests;
