//! What a manager decides by: the state at one moment.

use std::time::Instant;

use utils::{Lsn, NodeId};
use wal_quorum::control_file::PartialRemoteSegment;
use wal_quorum::state::MemoryState;

use super::super::wal_backup::election;
use super::super::wal_removal::horizon;
use super::super::{FlushPosition, Timeline};
use crate::metrics;
use crate::timeline::recovery::Standing;
use crate::wal_storage::segno;

/// The state at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) offloaded: bool,
    pub(super) memory: MemoryState,
    pub(super) flushed: FlushPosition,
    /// When the control file must be saved, if memory is ahead of it.
    pub(super) save_due: Option<Instant>,
    /// The last segment nobody needs, whether or not it is gone already.
    pub(super) removable: Option<u64>,
    /// Who is to archive WAL.
    pub(super) offloader: Option<NodeId>,
    /// Peers heard of lately, if recovery from them is wanted.
    pub(super) standing: Option<Standing>,
}

impl Snapshot {
    pub(super) async fn take(timeline: &Timeline) -> Self {
        let _timer = metrics::misc_timer("state_snapshot");
        let config = timeline.config();
        let laggard = match config.walsenders_keep_horizon {
            true => timeline.senders().laggard_lsn(),
            false => None,
        };
        let state = timeline.read().await;
        let control = state.control();
        let peers = state.peers.alive(Instant::now(), config.heartbeat_timeout);
        let horizon = horizon(&state, config.remote_storage.is_some(), laggard);
        let due = || control.store().last_persisted() + config.control_file_save_interval;
        Self {
            offloaded: state.is_offloaded(),
            memory: control.memory,
            flushed: state.flush_position(),
            save_due: control.is_dirty().then(due),
            removable: segno(horizon).checked_sub(1),
            offloader: election::elect(
                &peers,
                control.memory.backup_lsn,
                config.max_offloader_lag_bytes,
                timeline.ttid().timeline_id,
            ),
            standing: config
                .peer_recovery
                .then(|| Standing::of(&state, config.heartbeat_timeout, config.id)),
        }
    }

    /// Whether `uploaded` holds everything there is.
    pub(super) fn is_uploaded_as(&self, uploaded: &PartialRemoteSegment) -> bool {
        uploaded.flush_lsn == self.flushed.flush_lsn
            && uploaded.term == self.flushed.last_log_term
            && uploaded.commit_lsn == self.memory.commit_lsn
    }

    /// Whether pageservers still have to take WAL.
    pub(super) fn has_wal_to_hand_over(&self) -> bool {
        self.memory.remote_consistent_lsn < self.memory.commit_lsn
    }

    /// Whether complete segments wait for the archive.
    pub(super) fn has_wal_to_archive(&self) -> bool {
        segno(self.memory.commit_lsn) > segno(self.memory.backup_lsn)
    }

    /// Whether there is WAL at all.
    pub(super) fn has_wal(&self) -> bool {
        self.flushed.flush_lsn != Lsn::INVALID
    }
}
