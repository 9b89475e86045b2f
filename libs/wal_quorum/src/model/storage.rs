//! The smallest disk that can lose something: a log of which a prefix is synced, and a control
//! file that is replaced as a whole.

use utils::Lsn;

use super::{Mutation, RECORD_BYTES, START};
use crate::control_file::{ControlFile, ServerInfo};
use crate::storage::{ControlStore, StorageError, WalStorage};

/// Counts operations down to the one before which power fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fuse(pub(super) Option<u8>);

impl Fuse {
    fn burn(&mut self) -> Result<(), StorageError> {
        match &mut self.0 {
            None => Ok(()),
            // Every later operation fails as well.
            Some(0) => Err("power failure".into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// The log of one acceptor, from [`START`] on.
#[derive(Clone, Debug)]
pub(super) struct ModelWal {
    /// `None` until the first segment exists.
    written: Option<Vec<u8>>,
    /// Bytes that were asked to be made durable.
    flushed: usize,
    /// Bytes that are.
    durable: usize,
    ignores_flush: bool,
    pub(super) fuse: Fuse,
}

impl ModelWal {
    pub(super) fn new(mutation: Mutation) -> Self {
        let ignores_flush = mutation == Mutation::NoSyncBeforeAnswer;
        Self { written: None, flushed: 0, durable: 0, ignores_flush, fuse: Fuse::default() }
    }

    /// What the log is after a restart.
    pub(super) fn after_power_failure(mut self) -> Self {
        if let Some(written) = &mut self.written {
            written.truncate(self.durable);
        }
        self.flushed = self.durable;
        self.fuse = Fuse::default();
        self
    }

    /// What would survive.
    pub(super) fn durable(&self) -> &[u8] {
        self.written.as_deref().and_then(|bytes| bytes.get(..self.durable)).unwrap_or_default()
    }

    /// The bytes `[begin, end)` that the running acceptor has flushed.
    pub(super) fn read(&self, begin: Lsn, end: Lsn) -> Option<&[u8]> {
        let begin = begin.checked_sub(START)? as usize;
        let end = end.checked_sub(START)? as usize;
        self.written.as_deref()?.get(..self.flushed)?.get(begin..end)
    }

    pub(super) fn hash(&self, hasher: &mut impl std::hash::Hasher) {
        std::hash::Hash::hash(&(&self.written, self.flushed, self.durable), hasher);
    }

    fn position(&self, bytes: usize) -> Lsn {
        match self.written {
            None => Lsn::INVALID,
            Some(_) => START + bytes as u64,
        }
    }

    fn whole_records(bytes: usize) -> usize {
        bytes - bytes % RECORD_BYTES as usize
    }
}

impl WalStorage for ModelWal {
    fn write_lsn(&self) -> Lsn {
        self.position(self.written.as_ref().map_or(0, Vec::len))
    }

    fn write_record_lsn(&self) -> Lsn {
        self.position(Self::whole_records(self.written.as_ref().map_or(0, Vec::len)))
    }

    fn flush_record_lsn(&self) -> Lsn {
        self.position(Self::whole_records(self.flushed))
    }

    fn initialize_first_segment(
        &mut self,
        init_lsn: Lsn,
        _: &ServerInfo,
    ) -> Result<(), StorageError> {
        assert_eq!(init_lsn, START, "the log begins where the database's does");
        self.fuse.burn()
    }

    fn write_wal(&mut self, start: Lsn, wal: &[u8]) -> Result<(), StorageError> {
        self.fuse.burn()?;
        if start != self.write_lsn() {
            return Err(format!("{start} is not the end of the log, {}", self.write_lsn()).into());
        }
        self.written.get_or_insert_default().extend_from_slice(wal);
        Ok(())
    }

    fn truncate_wal(&mut self, end: Lsn) -> Result<(), StorageError> {
        self.fuse.burn()?;
        let length = (end - START) as usize;
        let written = self.written.get_or_insert_default();
        assert!(length <= written.len(), "a log is not made longer by cutting it");
        written.truncate(length);
        self.flushed = length;
        self.durable = self.durable.min(length);
        if !self.ignores_flush {
            self.durable = length;
        }
        Ok(())
    }

    fn flush_wal(&mut self) -> Result<(), StorageError> {
        self.fuse.burn()?;
        self.flushed = self.written.as_ref().map_or(0, Vec::len);
        if !self.ignores_flush {
            self.durable = self.flushed;
        }
        Ok(())
    }
}

/// The control file on disk.
#[derive(Clone, Debug)]
pub(super) struct ModelControl {
    pub(super) file: Option<ControlFile>,
    pub(super) fuse: Fuse,
}

impl ControlStore for ModelControl {
    fn persist(&mut self, state: &ControlFile) -> Result<(), StorageError> {
        self.fuse.burn()?;
        self.file = Some(state.clone());
        Ok(())
    }
}
