//! What a timeline's lock protects.

use std::ops::{Deref, DerefMut};

use tokio::sync::RwLockWriteGuard;
use utils::{Lsn, NodeId};
use wal_quorum::acceptor::Acceptor;
use wal_quorum::control_file::{ControlFile, EvictionState};
use wal_quorum::state::TimelineState;
use wal_quorum::storage::WalStorage;

use super::peers::PeersTable;
use super::{FlushPosition, Timeline, TimelineError};
use crate::control_store::FileControlStore;
use crate::wal_storage::{FileWalStorage, SegmentDir};

/// The consensus state together with what peers told.
#[derive(Debug)]
pub struct SharedState {
    /// The acceptor, its WAL and its control file.
    pub acceptor: Acceptor<FileWalStorage, FileControlStore>,
    /// What the other safekeepers told.
    pub peers: PeersTable,
}

impl SharedState {
    /// Opens the WAL that belongs to a control file. Reads and syncs files.
    pub fn open(
        segments: SegmentDir,
        control_file: ControlFile,
        node_id: NodeId,
    ) -> Result<Self, TimelineError> {
        let ttid = control_file.ttid();
        if let EvictionState::Offloaded(_) = control_file.eviction_state {
            return Err(TimelineError::Evicted(ttid));
        }
        let open_failed = |source| TimelineError::Open { ttid, source };
        let major = postgres_ffi::PgMajor::from_version_num(control_file.server.pg_version)
            .map_err(|error| open_failed(error.into()))?;
        let store = FileControlStore::new(segments.path(), segments.durability());
        let wal =
            FileWalStorage::open(segments, major, control_file.commit_lsn).map_err(open_failed)?;
        warn_of_missing_wal(&wal, &control_file);
        let state = TimelineState::loaded(store, control_file);
        Ok(Self { acceptor: Acceptor::new(state, wal, node_id), peers: PeersTable::default() })
    }

    /// The commit position in memory.
    pub fn commit_lsn(&self) -> Lsn {
        self.acceptor.state().memory.commit_lsn
    }

    /// Durable end of WAL as reported outside of the protocol.
    pub fn flush_lsn(&self) -> Lsn {
        self.acceptor.wal().flush_record_lsn()
    }

    /// Durable end of WAL with its term.
    pub fn flush_position(&self) -> FlushPosition {
        FlushPosition { last_log_term: self.acceptor.last_log_term(), flush_lsn: self.flush_lsn() }
    }
}

fn warn_of_missing_wal(wal: &FileWalStorage, control_file: &ControlFile) {
    let flush_lsn = wal.flush_record_lsn();
    let ControlFile { commit_lsn, peer_horizon_lsn, .. } = control_file;
    if flush_lsn < *commit_lsn || flush_lsn < *peer_horizon_lsn {
        tracing::warn!(
            "potential data loss in timeline {}: WAL ends at {flush_lsn}, but commit_lsn is \
             {commit_lsn} and peer_horizon_lsn {peer_horizon_lsn}",
            control_file.ttid(),
        );
    }
}

/// The state locked for a change. Dropping it tells the watchers.
#[derive(Debug)]
pub struct WriteState<'a> {
    timeline: &'a Timeline,
    state: RwLockWriteGuard<'a, SharedState>,
}

impl<'a> WriteState<'a> {
    pub(super) fn new(timeline: &'a Timeline, state: RwLockWriteGuard<'a, SharedState>) -> Self {
        Self { timeline, state }
    }
}

impl Deref for WriteState<'_> {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        &self.state
    }
}

impl DerefMut for WriteState<'_> {
    fn deref_mut(&mut self) -> &mut SharedState {
        &mut self.state
    }
}

impl Drop for WriteState<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An assertion failed half-way through a change: what is in memory is no longer
            // known to be true, and going on could lose committed WAL.
            tracing::error!(
                "timeline {} is out of service: an invariant was violated",
                self.timeline.ttid
            );
            self.timeline.cancel.cancel();
            return;
        }
        let commit_lsn = self.state.commit_lsn();
        let flushed = self.state.flush_position();
        publish(&self.timeline.commit_lsn, commit_lsn);
        publish(&self.timeline.flushed, flushed);
        self.timeline.version.send_modify(|version| *version += 1);
    }
}

fn publish<T: PartialEq>(watch: &tokio::sync::watch::Sender<T>, value: T) {
    watch.send_if_modified(|known| {
        let changed = *known != value;
        *known = value;
        changed
    });
}
