//! One timeline on this safekeeper: its state, its watchers and who is connected to it.
//!
//! The state is behind one lock whose writer does disk I/O while holding it, so that checking
//! the term, writing and syncing are one step for every connection. Releasing the write lock
//! publishes what changed; nobody has to remember to notify. What runs in the background is the
//! manager's business, what travels over connections the WAL service's.

pub mod error;
pub mod eviction;
pub mod manager;
pub mod partial_backup;
pub mod patch;
pub mod peers;
pub mod receivers;
pub mod recovery;
pub mod residence;
pub mod senders;
pub mod state;
pub mod status;
pub mod wal_acceptor;
pub mod wal_backup;
pub mod wal_removal;
pub mod wal_stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use safekeeper_api::models::SafekeeperTimelineInfo;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio_util::sync::CancellationToken;
use utils::gate::Gate;
use utils::{Lsn, NodeId, TenantTimelineId};
use wal_quorum::Term;
use wal_quorum::acceptor::PeerInfo;
use wal_quorum::control_file::ControlFile;
use wal_quorum::messages::{AcceptorMessage, ProposerMessage};

use crate::archive::WalArchive;
use crate::blocking;
use crate::config::Config;
use crate::metrics;
use crate::node::Node;
use crate::wal_storage::{SegmentDir, WalReader, WalSource, segno};

pub use error::TimelineError;
pub use receivers::WalReceivers;
pub use residence::WalResidentTimeline;
pub use senders::WalSenders;
pub use state::{SharedState, WriteState};

/// Durable end of the log and the term it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushPosition {
    /// Term of the last durable WAL.
    pub last_log_term: Term,
    /// Durable end of WAL.
    pub flush_lsn: Lsn,
}

/// A timeline in memory.
#[derive(Debug)]
pub struct Timeline {
    ttid: TenantTimelineId,
    dir: Utf8PathBuf,
    node: Arc<Node>,
    state: RwLock<SharedState>,
    commit_lsn: watch::Sender<Lsn>,
    /// The segment that the commit position is in.
    commit_segno: watch::Sender<u64>,
    flushed: watch::Sender<FlushPosition>,
    /// Counts releases of the write lock.
    version: watch::Sender<u64>,
    senders: Arc<WalSenders>,
    receivers: Arc<WalReceivers>,
    active: AtomicBool,
    archiving: AtomicBool,
    last_removed_segno: AtomicU64,
    removal_on_hold: AtomicBool,
    manager: manager::ManagerHandle,
    cancel: CancellationToken,
    gate: Gate,
}

impl Timeline {
    /// Brings a state that was loaded from, or written to, `dir` to life: from now on its manager
    /// looks after it. Must run within an async runtime.
    pub fn start(
        ttid: TenantTimelineId,
        dir: Utf8PathBuf,
        node: Arc<Node>,
        state: SharedState,
    ) -> Arc<Self> {
        let (handle, inbox) = manager::channel();
        let timeline = Arc::new(Self {
            ttid,
            dir,
            node,
            commit_lsn: watch::Sender::new(state.commit_lsn()),
            commit_segno: watch::Sender::new(segno(state.commit_lsn())),
            flushed: watch::Sender::new(state.flush_position()),
            state: RwLock::new(state),
            version: watch::Sender::new(0),
            senders: WalSenders::new(),
            receivers: WalReceivers::new(),
            active: AtomicBool::new(false),
            archiving: AtomicBool::new(false),
            last_removed_segno: AtomicU64::new(0),
            removal_on_hold: AtomicBool::new(false),
            manager: handle,
            cancel: CancellationToken::new(),
            gate: Gate::new(),
        });
        manager::spawn(&timeline, inbox);
        timeline
    }

    /// Which timeline this is.
    pub fn ttid(&self) -> TenantTimelineId {
        self.ttid
    }

    /// Where its files are.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// What it shares with all others.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What the daemon runs with.
    pub fn config(&self) -> &Config {
        &self.node.config
    }

    /// Where its WAL goes, if anywhere.
    pub fn archive(&self) -> Option<&Arc<WalArchive>> {
        self.node.archive.as_ref()
    }

    /// What its manager does right now.
    pub fn manager_status(&self) -> manager::ManagerStatus {
        self.manager.status()
    }

    /// Its segment files.
    pub fn segments(&self) -> SegmentDir {
        SegmentDir::new(&self.dir, self.config().durability)
    }

    /// Who reads from it.
    pub fn senders(&self) -> &Arc<WalSenders> {
        &self.senders
    }

    /// Who pushes into it.
    pub fn receivers(&self) -> &Arc<WalReceivers> {
        &self.receivers
    }

    /// Fires when the timeline goes away.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether it has a compute or WAL still to hand over; the broker hears of active ones.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether this safekeeper archives the timeline's WAL right now.
    pub fn is_archiving(&self) -> bool {
        self.archiving.load(Ordering::Relaxed)
    }

    /// The highest segment removed since the start of the process.
    pub fn last_removed_segno(&self) -> u64 {
        self.last_removed_segno.load(Ordering::Relaxed)
    }

    /// Follows the commit position.
    pub fn watch_commit_lsn(&self) -> watch::Receiver<Lsn> {
        self.commit_lsn.subscribe()
    }

    /// Follows the commit position from segment to segment.
    pub fn watch_commit_segno(&self) -> watch::Receiver<u64> {
        self.commit_segno.subscribe()
    }

    /// Follows the durable end of WAL.
    pub fn watch_flush_position(&self) -> watch::Receiver<FlushPosition> {
        self.flushed.subscribe()
    }

    /// Follows the state: changes whenever it may have changed.
    pub fn watch_version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Fails once the timeline is going away.
    pub fn check_usable(&self) -> Result<(), TimelineError> {
        match self.cancel.is_cancelled() {
            true => Err(TimelineError::Cancelled(self.ttid)),
            false => Ok(()),
        }
    }

    /// Looks at the state.
    pub async fn read(&self) -> RwLockReadGuard<'_, SharedState> {
        self.state.read().await
    }

    /// Looks at the state from a thread that may block, such as that of a metrics scrape.
    pub fn blocking_read(&self) -> RwLockReadGuard<'_, SharedState> {
        self.state.blocking_read()
    }

    /// Locks the state for a change; releasing it publishes what changed.
    pub async fn write(&self) -> WriteState<'_> {
        WriteState::new(self, self.state.write().await)
    }

    /// Applies a message of a proposer, durably.
    pub async fn process(
        &self,
        message: ProposerMessage,
    ) -> Result<Option<AcceptorMessage>, TimelineError> {
        let elected = matches!(message, ProposerMessage::Elected(_));
        let _timer = elected.then(|| metrics::misc_timer("handle_elected"));
        let mut state = self.write().await;
        self.check_usable()?;
        let acceptor = state.acceptor_mut()?;
        Ok(blocking::run(|| acceptor.process(message))?)
    }

    /// Takes over what another safekeeper told through the broker.
    pub async fn record_peer(
        &self,
        id: NodeId,
        info: &SafekeeperTimelineInfo,
    ) -> Result<(), TimelineError> {
        let peer = PeerInfo {
            last_log_term: info.last_log_term.unwrap_or_default(),
            commit_lsn: info.commit_lsn,
            backup_lsn: info.backup_lsn,
            remote_consistent_lsn: info.remote_consistent_lsn,
            peer_horizon_lsn: info.peer_horizon_lsn,
        };
        let mut state = self.write().await;
        self.check_usable()?;
        blocking::run(|| state.record_peer(&peer))?;
        state.peers.record(id, info, Instant::now());
        Ok(())
    }

    /// A pageserver has everything below `lsn` in its object storage.
    pub async fn advance_remote_consistent_lsn(&self, lsn: Lsn) {
        // Pageservers report with every message that they get, and seldom anything new.
        if lsn <= self.read().await.control().memory.remote_consistent_lsn {
            return;
        }
        let mut state = self.write().await;
        let memory = &mut state.control_mut().memory;
        memory.remote_consistent_lsn = memory.remote_consistent_lsn.max(lsn);
    }

    /// Persists the values that run ahead of the control file.
    pub async fn flush_control_file(&self) -> Result<(), TimelineError> {
        let mut state = self.write().await;
        self.check_usable()?;
        blocking::run(|| state.change(|_| {}))
    }

    /// Changes the control file durably.
    pub async fn change_control_file(
        &self,
        change: impl FnOnce(&mut ControlFile),
    ) -> Result<(), TimelineError> {
        let mut state = self.write().await;
        self.check_usable()?;
        blocking::run(|| state.change(change))
    }

    /// A reader of the WAL from `start` on.
    pub async fn wal_reader(&self, start: Lsn) -> Result<WalReader, TimelineError> {
        let source = {
            let state = self.read().await;
            WalSource::new(self.segments(), state.control().persistent())
        };
        let failed = |source| TimelineError::Read { ttid: self.ttid, source };
        WalReader::new(source.map_err(failed)?, start).map_err(failed)
    }

    /// Tells everything that runs on the timeline to end. Returns whether this is the first that
    /// it hears of it.
    pub fn begin_shutdown(&self) -> bool {
        let was_usable = self.check_usable().is_ok();
        self.cancel.cancel();
        was_usable
    }

    /// Persists the values that run ahead of the control file of a timeline that was just told to
    /// end. Returns whether there were any.
    pub async fn save_for_shutdown(&self) -> Result<bool, TimelineError> {
        let mut state = self.write().await;
        let ahead = state.control().is_dirty();
        blocking::run(|| state.change(|_| {}))?;
        Ok(ahead)
    }

    /// Ends everything that runs on the timeline and waits until it has.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.gate.close().await;
        let mut state = self.state.write().await;
        blocking::run(|| state.close());
    }
}
