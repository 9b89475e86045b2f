//! What the simulation needs of a safekeeper's storage, and of the WAL in it.

use std::fmt::Debug;
use std::ops::Range;

use utils::Lsn;

use super::disk::DiskFault;
use crate::control_file::ControlFile;
use crate::storage::{ControlStore, WalStorage};

/// A disk that outlives crashes, with the storage code that runs on it. Clones
/// share the disk.
pub trait Platform: Clone + Debug + 'static {
    /// Where the simulated database's WAL begins.
    const START: Lsn;
    /// The log.
    type Wal: WalStorage + Debug;
    /// The control file.
    type Control: ControlStore + Debug;

    /// An empty disk.
    fn new(seed: u64, fault: DiskFault) -> Self;
    /// Bytes of a record of `words` times `fill` that begins at `start`.
    fn record(start: Lsn, fill: u64, words: usize) -> Vec<u8>;

    /// Lets power fail during the `operations`-th operation from now.
    fn fail_after(&self, operations: u32);
    /// Lets the next sync fail; what was to be synced is lost.
    fn fail_next_sync(&self);
    /// Power failed during the last operation.
    fn has_failed(&self) -> bool;
    /// A sync failed, so that only a restart can help.
    fn needs_restart(&self) -> bool;
    /// Power is gone: what was not synced survives or vanishes at random.
    fn power_failure(&self);

    /// The stored control file, if there is one.
    fn control_file(&self) -> Option<ControlFile>;
    /// The store of the control file.
    fn control_store(&self) -> Self::Control;
    /// Opens the log that belongs to a control file.
    fn open_wal(&self, file: &ControlFile) -> Self::Wal;

    /// WAL as the running safekeeper sees it; zeros where nothing was written.
    fn read(&self, range: Range<Lsn>) -> Vec<u8>;
    /// WAL as it would be found after a power failure that loses everything unsynced.
    fn read_durable(&self, range: Range<Lsn>) -> Vec<u8>;

    /// Whether the durable WAL begins with `wal`.
    fn durable_starts_with(&self, wal: &[u8]) -> bool {
        self.read_durable(Self::START..Self::START + wal.len() as u64) == wal
    }

    /// Whether what is seen of `range` is durable.
    fn is_synced(&self, range: Range<Lsn>) -> bool {
        self.read(range.clone()) == self.read_durable(range)
    }
}
