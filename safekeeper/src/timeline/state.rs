//! What a timeline's lock protects.
//!
//! A timeline is either present, with its WAL open for appending, or offloaded: then its newest
//! WAL is an object in the archive, and only the control file can be read and changed.

use std::ops::{Deref, DerefMut};

use postgres_ffi::PgMajor;
use tokio::sync::RwLockWriteGuard;
use utils::{Lsn, NodeId, TenantTimelineId};
use wal_quorum::acceptor::{Acceptor, PeerInfo};
use wal_quorum::control_file::{ControlFile, EvictionState};
use wal_quorum::state::TimelineState;
use wal_quorum::storage::WalStorage;
use wal_quorum::{Term, TermHistory};

use super::peers::PeersTable;
use super::{FlushPosition, Timeline, TimelineError};
use crate::control_store::FileControlStore;
use crate::metrics::GaugeGuard;
use crate::wal_storage::{FileWalStorage, SegmentDir, segno};

/// The acceptor of a timeline whose WAL is on the local disk.
pub type FileAcceptor = Acceptor<FileWalStorage, FileControlStore>;

/// The consensus state together with what peers told.
#[derive(Debug)]
pub struct SharedState {
    storage: Storage,
    node_id: NodeId,
    /// What the other safekeepers told.
    pub peers: PeersTable,
}

#[derive(Debug)]
enum Storage {
    Present(Box<FileAcceptor>),
    Offloaded {
        control: Box<TimelineState<FileControlStore>>,
        flush_lsn: Lsn,
        _counted: GaugeGuard,
    },
}

impl SharedState {
    /// Opens what belongs to a control file. Reads and syncs WAL, unless it is offloaded.
    pub fn open(
        segments: &SegmentDir,
        control_file: ControlFile,
        node_id: NodeId,
    ) -> Result<Self, TimelineError> {
        let storage = match control_file.eviction_state {
            EvictionState::Present => open_present(segments, control_file, node_id)?,
            EvictionState::Offloaded(flush_lsn) => offloaded(segments, control_file, flush_lsn),
        };
        Ok(Self { storage, node_id, peers: PeersTable::default() })
    }

    /// The control file and the values that run ahead of it.
    pub fn control(&self) -> &TimelineState<FileControlStore> {
        match &self.storage {
            Storage::Present(acceptor) => acceptor.state(),
            Storage::Offloaded { control, .. } => control,
        }
    }

    /// The same, for changes that are none of the consensus' business.
    pub fn control_mut(&mut self) -> &mut TimelineState<FileControlStore> {
        match &mut self.storage {
            Storage::Present(acceptor) => acceptor.state_mut(),
            Storage::Offloaded { control, .. } => control,
        }
    }

    /// Changes the control file durably.
    pub fn change(&mut self, change: impl FnOnce(&mut ControlFile)) -> Result<(), TimelineError> {
        let ttid = self.ttid();
        let control = self.control_mut();
        let mut changed = control.start_change();
        change(&mut changed);
        let persisted = control.finish_change(changed);
        persisted.map_err(|source| TimelineError::ControlFile { ttid, source })
    }

    /// The acceptor, if the WAL is on the local disk.
    pub fn acceptor(&self) -> Option<&FileAcceptor> {
        match &self.storage {
            Storage::Present(acceptor) => Some(acceptor),
            Storage::Offloaded { .. } => None,
        }
    }

    /// The acceptor, for messages of proposers. Whoever holds a residence guard gets it.
    pub fn acceptor_mut(&mut self) -> Result<&mut FileAcceptor, TimelineError> {
        let ttid = self.ttid();
        match &mut self.storage {
            Storage::Present(acceptor) => Ok(acceptor),
            Storage::Offloaded { .. } => Err(TimelineError::Offloaded(ttid)),
        }
    }

    /// Whether the newest WAL is in the archive only.
    pub fn is_offloaded(&self) -> bool {
        matches!(self.storage, Storage::Offloaded { .. })
    }

    /// Takes over what a peer told. An offloaded timeline cannot commit, so there the peer's
    /// commit position does not count.
    pub fn record_peer(&mut self, peer: &PeerInfo) -> Result<(), TimelineError> {
        let ttid = self.ttid();
        match &mut self.storage {
            Storage::Present(acceptor) => Ok(acceptor.record_peer(peer)?),
            Storage::Offloaded { control, .. } => control
                .record_peer(peer)
                .map_err(|source| TimelineError::ControlFile { ttid, source }),
        }
    }

    /// Marks the timeline offloaded and lets go of its WAL files.
    pub fn offload(&mut self, segments: &SegmentDir) -> Result<(), TimelineError> {
        let flush_lsn = self.flush_lsn();
        self.change(|file| file.eviction_state = EvictionState::Offloaded(flush_lsn))?;
        self.storage = offloaded(segments, self.control().persistent().clone(), flush_lsn);
        Ok(())
    }

    /// Opens the WAL that is on the local disk again, which must end where it ended before.
    pub fn restore(&mut self, segments: &SegmentDir) -> Result<(), TimelineError> {
        let Storage::Offloaded { flush_lsn, .. } = self.storage else { return Ok(()) };
        let file = self.control().start_change();
        let wal = open_wal(segments, &file)?;
        if wal.flush_record_lsn() != flush_lsn {
            let (ttid, found) = (file.ttid(), wal.flush_record_lsn());
            return Err(TimelineError::RestoredElsewhere { ttid, expected: flush_lsn, found });
        }
        self.change(|file| file.eviction_state = EvictionState::Present)?;
        let store = FileControlStore::on(segments.files().clone(), segments.path());
        let control = TimelineState::loaded(store, self.control().persistent().clone());
        self.storage = Storage::Present(Box::new(Acceptor::new(control, wal, self.node_id)));
        Ok(())
    }

    /// Forgets open files, so that their directory can go away. Blocks until a segment that is
    /// being made is there, and removes it.
    pub fn close(&mut self) {
        if let Storage::Present(acceptor) = &mut self.storage {
            acceptor.wal_mut().close();
        }
    }

    fn ttid(&self) -> TenantTimelineId {
        self.control().ttid()
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.control().acceptor_state.term
    }

    /// Where the term of the connected leader begins; 0 without one.
    pub fn term_start_lsn(&self) -> Lsn {
        self.acceptor().map_or(Lsn::INVALID, FileAcceptor::term_start_lsn)
    }

    /// History of what is durable here.
    pub fn term_history(&self) -> TermHistory {
        let control = self.control();
        let end = self.flush_lsn().max(control.timeline_start_lsn);
        control.acceptor_state.term_history.up_to(end)
    }

    /// Term of the last durable WAL.
    pub fn last_log_term(&self) -> Term {
        self.term_history().last_term()
    }

    /// The commit position in memory.
    pub fn commit_lsn(&self) -> Lsn {
        self.control().memory.commit_lsn
    }

    /// Durable end of WAL as reported outside of the protocol.
    pub fn flush_lsn(&self) -> Lsn {
        match &self.storage {
            Storage::Present(acceptor) => acceptor.wal().flush_record_lsn(),
            Storage::Offloaded { flush_lsn, .. } => *flush_lsn,
        }
    }

    /// Durable end of WAL with its term.
    pub fn flush_position(&self) -> FlushPosition {
        FlushPosition { last_log_term: self.last_log_term(), flush_lsn: self.flush_lsn() }
    }
}

fn offloaded(segments: &SegmentDir, file: ControlFile, flush_lsn: Lsn) -> Storage {
    let store = FileControlStore::on(segments.files().clone(), segments.path());
    let control = Box::new(TimelineState::loaded(store, file));
    Storage::Offloaded { control, flush_lsn, _counted: GaugeGuard::evicted_timeline() }
}

fn open_present(
    segments: &SegmentDir,
    file: ControlFile,
    node_id: NodeId,
) -> Result<Storage, TimelineError> {
    let wal = open_wal(segments, &file)?;
    warn_of_missing_wal(&wal, &file);
    let store = FileControlStore::on(segments.files().clone(), segments.path());
    let control = TimelineState::loaded(store, file);
    Ok(Storage::Present(Box::new(Acceptor::new(control, wal, node_id))))
}

fn open_wal(segments: &SegmentDir, file: &ControlFile) -> Result<FileWalStorage, TimelineError> {
    let failed = |source| TimelineError::Open { ttid: file.ttid(), source };
    let major =
        PgMajor::from_version_num(file.server.pg_version).map_err(|error| failed(error.into()))?;
    FileWalStorage::open(segments.clone(), major, file.commit_lsn).map_err(failed)
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
        publish(&self.timeline.commit_segno, segno(commit_lsn));
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
