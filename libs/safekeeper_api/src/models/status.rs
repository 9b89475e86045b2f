//! `GET /v1/tenant/:tenant/timeline/:timeline`: everything a safekeeper tells about a timeline.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};

/// One entry of a term history: the leader of `term` wrote WAL from `lsn` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermLsn {
    /// The leader's term.
    pub term: u64,
    /// Where its WAL begins.
    pub lsn: Lsn,
}

/// Where the acceptor stands in the elections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptorStateStatus {
    /// The highest term it voted for or learnt of.
    pub term: u64,
    /// Term of the end of its log ("last log term").
    pub epoch: u64,
    /// The whole stored history, which may run ahead of the WAL.
    pub term_history: Vec<TermLsn>,
}

/// What is known of the cluster that writes the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgInfo {
    /// `PG_VERSION_NUM` form, such as 150018.
    pub pg_version: u32,
    /// Identifier of the cluster; 0 while unknown.
    pub system_id: u64,
    /// Bytes per WAL segment.
    pub wal_seg_size: u32,
}

/// The status object. Positions are the in-memory ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimelineStatus {
    /// The owner.
    pub tenant_id: TenantId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// Where the acceptor stands in the elections.
    pub acceptor_state: AcceptorStateStatus,
    /// What is known of the cluster that writes the WAL.
    pub pg_info: PgInfo,
    /// Durable end of WAL, a record boundary.
    pub flush_lsn: Lsn,
    /// Where the timeline's WAL begins anywhere.
    pub timeline_start_lsn: Lsn,
    /// Where this safekeeper's WAL begins.
    pub local_start_lsn: Lsn,
    /// Committed and available here.
    pub commit_lsn: Lsn,
    /// Archived up to here.
    pub backup_lsn: Lsn,
    /// Every safekeeper has everything below.
    pub peer_horizon_lsn: Lsn,
    /// Pageservers have everything below in their object storage.
    pub remote_consistent_lsn: Lsn,
    /// Peers heard of lately.
    pub peers: Vec<PeerInfo>,
    /// Connections that read WAL.
    pub walsenders: Vec<WalSenderState>,
    /// Connections that push WAL.
    pub walreceivers: Vec<WalReceiverState>,
}

/// One peer, as its last broker message told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The peer.
    pub sk_id: NodeId,
    /// Term it voted in.
    pub term: u64,
    /// Term of the end of its log.
    pub last_log_term: u64,
    /// Durable end of its WAL.
    pub flush_lsn: Lsn,
    /// Its commit position.
    pub commit_lsn: Lsn,
    /// Where its WAL begins.
    pub local_start_lsn: Lsn,
    /// Its WAL service, `host:port`.
    pub pg_connstr: String,
    /// Its HTTP service, `host:port`.
    pub http_connstr: String,
}

/// A connection that pushes WAL; `conn_id` is null for the safekeeper's own peer recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalReceiverState {
    /// Number of the connection within its listener.
    pub conn_id: Option<u32>,
    /// How far it got.
    pub status: WalReceiverStatus,
}

/// How far a pushing connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalReceiverStatus {
    /// No leader announced itself on it yet.
    Voting,
    /// A leader streams on it.
    Streaming,
}

/// A connection that reads WAL.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WalSenderState {
    /// What it reads.
    pub ttid: Ttid,
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Number of the connection within its listener.
    pub conn_id: u32,
    /// The `application_name` it gave.
    pub appname: Option<String>,
    /// What it reported last.
    pub feedback: ReplicationFeedback,
}

/// Tenant and timeline as an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttid {
    /// The owner.
    pub tenant_id: TenantId,
    /// The timeline.
    pub timeline_id: TimelineId,
}

impl From<TenantTimelineId> for Ttid {
    fn from(id: TenantTimelineId) -> Self {
        Self { tenant_id: id.tenant_id, timeline_id: id.timeline_id }
    }
}

/// What a reader reported last, by the kind of reader it proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplicationFeedback {
    /// A pageserver, or nothing was reported yet.
    Pageserver(PageserverFeedbackStatus),
    /// A standby or another stock client.
    Standby(StandbyFeedback),
}

/// How far a pageserver got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageserverFeedbackStatus {
    /// Logical size of the timeline in bytes; 0 from shards other than zero.
    pub current_timeline_size: u64,
    /// WAL received.
    pub last_received_lsn: Lsn,
    /// WAL durable on the pageserver's disk.
    pub disk_consistent_lsn: Lsn,
    /// WAL durable in object storage.
    pub remote_consistent_lsn: Lsn,
    /// When the pageserver said so.
    pub replytime: DateTime<Utc>,
    /// The shard that spoke.
    pub shard_number: u32,
}

/// What a standby reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyFeedback {
    /// Positions.
    pub reply: StandbyReply,
    /// Oldest transactions it still needs.
    pub hs_feedback: HotStandbyFeedback,
}

/// Positions of a standby; times are microseconds since 2000-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyReply {
    /// Written.
    pub write_lsn: Lsn,
    /// Durable.
    pub flush_lsn: Lsn,
    /// Replayed.
    pub apply_lsn: Lsn,
    /// When it said so.
    pub reply_ts: i64,
    /// It wants an answer.
    pub reply_requested: bool,
}

/// Oldest transactions a standby still needs: 64-bit ids, 0 when none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotStandbyFeedback {
    /// Microseconds since 2000-01-01 UTC.
    pub ts: i64,
    /// Oldest transaction its snapshots need.
    pub xmin: u64,
    /// Oldest transaction its catalog snapshots need.
    pub catalog_xmin: u64,
}
