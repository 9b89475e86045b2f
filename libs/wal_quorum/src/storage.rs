//! What an acceptor needs from its disk.
//!
//! A safekeeper implements these over files, the simulation over memory that
//! forgets unsynced writes. Calls are synchronous: an acceptor handles one
//! message at a time, disk included, which is what makes "check the term,
//! write, sync" atomic.

use utils::Lsn;

use crate::control_file::{ControlFile, ServerInfo};

/// A failed storage operation. The acceptor only passes it on: the session
/// ends, and the implementation decides whether the timeline is still usable.
pub type StorageError = Box<dyn std::error::Error + Send + Sync>;

/// Where the control file lives.
pub trait ControlStore {
    /// Replaces the stored state, atomically and durably, before returning.
    /// After an error either the old or the new state may be found on restart.
    fn persist(&mut self, state: &ControlFile) -> Result<(), StorageError>;
}

/// The WAL of one timeline.
///
/// Invariant: `write_lsn >= write_record_lsn >= flush_record_lsn`, save that a
/// segment switch moves the record position to the next segment before the
/// zeros in between have arrived.
pub trait WalStorage {
    /// End of what was written.
    fn write_lsn(&self) -> Lsn;

    /// End of the last whole record written.
    fn write_record_lsn(&self) -> Lsn;

    /// End of the last whole record known to be durable.
    fn flush_record_lsn(&self) -> Lsn;

    /// Prepares the segment in which the log will begin at `init_lsn`, with
    /// the page headers that the proposer will not send. Called before the
    /// first write only, repeated after a crash in between.
    fn initialize_first_segment(
        &mut self,
        init_lsn: Lsn,
        server: &ServerInfo,
    ) -> Result<(), StorageError>;

    /// Writes `wal` at `start`, which must be the current `write_lsn` (or
    /// anything while the log is empty). Nothing is durable before a flush.
    fn write_wal(&mut self, start: Lsn, wal: &[u8]) -> Result<(), StorageError>;

    /// Durably removes everything from `end` on; all positions become `end`.
    fn truncate_wal(&mut self, end: Lsn) -> Result<(), StorageError>;

    /// Makes everything written so far durable.
    fn flush_wal(&mut self) -> Result<(), StorageError>;
}
