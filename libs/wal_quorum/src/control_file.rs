//! The acceptor's durable state and its file format
//! (docs/formats/safekeeper-control-file.md).
//!
//! The structures here are the exact image of the file; their serde form is
//! the JSON shown by the HTTP API and `--dump-control-file`. [`ControlFile::decode`]
//! reads versions 1 to 9, [`ControlFile::encode`] writes the oldest version
//! that can express the state, so that an older binary can still read it.
//! This module must not touch a file system.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod codec;
mod legacy;

use serde::{Deserialize, Serialize};
use utils::{Lsn, NodeId, TenantId, TenantTimelineId, TimelineId};

pub use crate::messages::ProposerUuid;
use crate::term_history::{Term, TermHistory};
pub use codec::{CONTROL_FILE_MAGIC, ControlFileError, NEWEST_VERSION};

/// The whole persistent state of a timeline on one safekeeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFile {
    /// Owner of the timeline.
    pub tenant_id: TenantId,
    /// The timeline.
    pub timeline_id: TimelineId,
    /// Promises and history.
    pub acceptor_state: AcceptorState,
    /// The database that writes here.
    pub server: ServerInfo,
    /// The last proposer heard of, for observation.
    pub proposer_uuid: ProposerUuid,
    /// Where the timeline's WAL begins globally; 0 until a leader told.
    pub timeline_start_lsn: Lsn,
    /// Where the WAL on this safekeeper begins; 0 until a leader told.
    pub local_start_lsn: Lsn,
    /// Committed and available here; a record boundary.
    pub commit_lsn: Lsn,
    /// End of the last segment archived to object storage.
    pub backup_lsn: Lsn,
    /// Flushed on all safekeepers, as far as known (the proposer's truncate LSN).
    pub peer_horizon_lsn: Lsn,
    /// What pageservers have made durable themselves.
    pub remote_consistent_lsn: Lsn,
    /// Kept for the file format; always empty.
    pub peers: Vec<(NodeId, PersistedPeerInfo)>,
    /// Partial segments in object storage.
    pub partial_backup: PartialBackupState,
    /// Where the newest WAL is.
    pub eviction_state: EvictionState,
}

/// What the acceptor has promised and what its log is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptorState {
    /// Highest term voted for or heard of from its leader.
    pub term: Term,
    /// History of the log; may run ahead of the WAL on disk.
    pub term_history: TermHistory,
}

/// Facts about the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// In PG_VERSION_NUM form, such as 150013; 0 when unknown.
    pub pg_version: u32,
    /// System identifier; 0 until a database connected.
    pub system_id: u64,
    /// Bytes of a WAL segment.
    pub wal_seg_size: u32,
}

impl ServerInfo {
    /// The major version, `None` when unknown.
    pub fn pg_major(&self) -> Option<u32> {
        Some(self.pg_version / 10_000).filter(|major| *major != 0)
    }
}

/// State of a peer in the file; nothing writes it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistedPeerInfo {
    /// The peer's archived position.
    pub backup_lsn: Lsn,
    /// The peer's term.
    pub term: Term,
    /// The peer's durable position.
    pub flush_lsn: Lsn,
    /// The peer's commit position.
    pub commit_lsn: Lsn,
}

/// Partial segments known to be, or to become, in object storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialBackupState {
    /// In order of upload.
    pub segments: Vec<PartialRemoteSegment>,
}

/// One uploaded partial segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialRemoteSegment {
    /// How far the upload or deletion is.
    pub status: UploadStatus,
    /// Object name, without the timeline's prefix.
    pub name: String,
    /// Commit position at upload.
    pub commit_lsn: Lsn,
    /// End of the WAL in the object.
    pub flush_lsn: Lsn,
    /// Last log term at upload.
    pub term: Term,
}

/// Life of a partial segment in object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadStatus {
    /// May or may not exist.
    InProgress,
    /// Exists.
    Uploaded,
    /// May still exist, nobody needs it.
    Deleting,
}

/// Whether the last segment is on the local disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvictionState {
    /// It is.
    #[default]
    Present,
    /// It is in object storage only; the log ends at this position.
    Offloaded(Lsn),
}

impl ControlFile {
    /// The state of a timeline nobody has written to yet: no term, no history.
    /// `commit_lsn` and `local_start_lsn` are 0 unless the creator knows better.
    pub fn new(
        ttid: TenantTimelineId,
        server: ServerInfo,
        commit_lsn: Lsn,
        local_start_lsn: Lsn,
    ) -> Self {
        Self {
            tenant_id: ttid.tenant_id,
            timeline_id: ttid.timeline_id,
            acceptor_state: AcceptorState::default(),
            server,
            proposer_uuid: ProposerUuid::default(),
            timeline_start_lsn: Lsn::INVALID,
            local_start_lsn,
            commit_lsn,
            backup_lsn: local_start_lsn,
            peer_horizon_lsn: local_start_lsn,
            remote_consistent_lsn: Lsn::INVALID,
            peers: Vec::new(),
            partial_backup: PartialBackupState::default(),
            eviction_state: EvictionState::Present,
        }
    }

    /// Tenant and timeline together.
    pub fn ttid(&self) -> TenantTimelineId {
        TenantTimelineId::new(self.tenant_id, self.timeline_id)
    }
}

#[cfg(test)]
mod tests;
