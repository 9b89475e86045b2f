//! The control file in memory: the image last persisted, and an overlay of
//! the five values that change too often to be synced each time.
//!
//! A change is a transaction: take a copy with the overlay applied
//! ([`TimelineState::start_change`]), modify it, hand it back
//! ([`TimelineState::finish_change`]). Only after the store has it durably does
//! the copy in memory change. Nothing else may write the persistent part.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use utils::Lsn;

use crate::acceptor::PeerInfo;
use crate::control_file::ControlFile;
use crate::messages::ProposerUuid;
use crate::storage::{ControlStore, StorageError};

/// The values that run ahead of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryState {
    /// See [`ControlFile::commit_lsn`].
    pub commit_lsn: Lsn,
    /// See [`ControlFile::backup_lsn`].
    pub backup_lsn: Lsn,
    /// See [`ControlFile::peer_horizon_lsn`].
    pub peer_horizon_lsn: Lsn,
    /// See [`ControlFile::remote_consistent_lsn`].
    pub remote_consistent_lsn: Lsn,
    /// See [`ControlFile::proposer_uuid`].
    pub proposer_uuid: ProposerUuid,
}

impl MemoryState {
    fn of(file: &ControlFile) -> Self {
        Self {
            commit_lsn: file.commit_lsn,
            backup_lsn: file.backup_lsn,
            peer_horizon_lsn: file.peer_horizon_lsn,
            remote_consistent_lsn: file.remote_consistent_lsn,
            proposer_uuid: file.proposer_uuid,
        }
    }

    fn apply_to(&self, file: &mut ControlFile) {
        file.commit_lsn = self.commit_lsn;
        file.backup_lsn = self.backup_lsn;
        file.peer_horizon_lsn = self.peer_horizon_lsn;
        file.remote_consistent_lsn = self.remote_consistent_lsn;
        file.proposer_uuid = self.proposer_uuid;
    }
}

/// Persistent part, overlay and the store. Dereferences to the persistent part.
#[derive(Clone, Debug)]
pub struct TimelineState<C> {
    persistent: ControlFile,
    /// The overlay; free to change at any time.
    pub memory: MemoryState,
    store: C,
}

impl<C> Deref for TimelineState<C> {
    type Target = ControlFile;

    fn deref(&self) -> &ControlFile {
        &self.persistent
    }
}

impl<C: ControlStore> TimelineState<C> {
    /// Wraps a state that `store` already holds.
    pub fn loaded(store: C, persistent: ControlFile) -> Self {
        Self { memory: MemoryState::of(&persistent), persistent, store }
    }

    /// Persists the first state of a new timeline.
    pub fn create(mut store: C, persistent: ControlFile) -> Result<Self, StorageError> {
        store.persist(&persistent)?;
        Ok(Self::loaded(store, persistent))
    }

    /// What the file says.
    pub fn persistent(&self) -> &ControlFile {
        &self.persistent
    }

    /// The store, for what it knows beyond the state (such as when it last wrote).
    pub fn store(&self) -> &C {
        &self.store
    }

    /// The store, for letting it fail.
    #[cfg(test)]
    pub(crate) fn store_mut(&mut self) -> &mut C {
        &mut self.store
    }

    /// Begins a change: the persistent state with the overlay applied.
    pub fn start_change(&self) -> ControlFile {
        let mut changed = self.persistent.clone();
        self.memory.apply_to(&mut changed);
        changed
    }

    /// Ends a change: persists `changed` unless that is what the file says
    /// already, then makes it the state in memory.
    pub fn finish_change(&mut self, changed: ControlFile) -> Result<(), StorageError> {
        if changed != self.persistent {
            self.store.persist(&changed)?;
            self.persistent = changed;
        }
        self.memory = MemoryState::of(&self.persistent);
        Ok(())
    }

    /// Persists the overlay.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        self.finish_change(self.start_change())
    }

    /// Takes over the positions that `peer` knows better and that say nothing
    /// about the log here, so that no log is needed for it.
    pub fn record_peer(&mut self, peer: &PeerInfo) -> Result<(), StorageError> {
        let memory = &mut self.memory;
        memory.backup_lsn = memory.backup_lsn.max(peer.backup_lsn);
        memory.remote_consistent_lsn = memory.remote_consistent_lsn.max(peer.remote_consistent_lsn);
        memory.peer_horizon_lsn = memory.peer_horizon_lsn.max(peer.peer_horizon_lsn);
        match self.is_far_ahead_of_file() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Whether a position in memory is more than a segment ahead of the file.
    fn is_far_ahead_of_file(&self) -> bool {
        let (memory, file) = (&self.memory, &self.persistent);
        let wal_seg_size = u64::from(file.server.wal_seg_size);
        [
            (memory.backup_lsn, file.backup_lsn),
            (memory.remote_consistent_lsn, file.remote_consistent_lsn),
            (memory.peer_horizon_lsn, file.peer_horizon_lsn),
        ]
        .into_iter()
        .any(|(memory, file)| memory.saturating_sub(file) > wal_seg_size)
    }

    /// Whether a [`Self::flush`] would write.
    pub fn is_dirty(&self) -> bool {
        self.memory != MemoryState::of(&self.persistent)
    }
}

#[cfg(test)]
mod tests;
