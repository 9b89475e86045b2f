//! A safekeeper's disk in memory, which forgets what was not synced, and the
//! acceptor's storage traits on top of it.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use utils::Lsn;

use super::platform::Platform;
use super::records::{DATABASE_START, Decoded, decode, record};
use crate::control_file::{ControlFile, ServerInfo};
use crate::storage::{ControlStore, StorageError, WalStorage};

/// What survives or is lost as a whole when power fails.
const SECTOR_BYTES: usize = 64;

/// A deliberate fault of the disk, for testing that the simulation notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFault {
    #[default]
    None,
    /// Flushing claims success and does nothing.
    IgnoresFlush,
    /// Truncation reaches the platter only with the next flush, that is after
    /// the new history.
    TruncatesLate,
}

/// The platter and the page cache above it. Clones share the same disk.
#[derive(Clone, Debug)]
pub struct Disk(Rc<RefCell<Content>>);

#[derive(Debug)]
struct Content {
    control: Option<Vec<u8>>,
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Ranges in which both may differ.
    dirty: Vec<Range<usize>>,
    fault: DiskFault,
    rng: StdRng,
    /// Power fails at this many operations from now.
    operations_left: Option<u32>,
    /// The next sync fails.
    sync_fails: bool,
    /// A sync failed.
    poisoned: bool,
}

/// Power failed during the operation.
#[derive(Debug, thiserror::Error)]
#[error("power failure")]
pub struct PowerFailure;

impl Disk {
    pub fn new(seed: u64, fault: DiskFault) -> Self {
        Self(Rc::new(RefCell::new(Content {
            control: None,
            durable: Vec::new(),
            cached: Vec::new(),
            dirty: Vec::new(),
            fault,
            rng: StdRng::seed_from_u64(seed),
            operations_left: None,
            sync_fails: false,
            poisoned: false,
        })))
    }

    /// Lets power fail during the `operations`-th operation from now.
    pub fn fail_after(&self, operations: u32) {
        self.0.borrow_mut().operations_left = Some(operations);
    }

    /// Power is gone: unsynced sectors survive or vanish at random.
    pub fn power_failure(&self) {
        let content = &mut *self.0.borrow_mut();
        content.operations_left = None;
        content.sync_fails = false;
        content.poisoned = false;
        let survival = [0.0, 0.5, 1.0][content.rng.random_range(0..3)];
        for range in std::mem::take(&mut content.dirty) {
            content.write_back(range, survival);
        }
        content.cached.clone_from(&content.durable);
    }

    /// The stored control file.
    pub fn control_file(&self) -> Option<ControlFile> {
        let content = self.0.borrow();
        content.control.as_ref().map(|file| ControlFile::decode(file).expect("own file is valid"))
    }

    /// WAL as the running safekeeper sees it; zeros where nothing was written.
    pub fn read(&self, range: Range<Lsn>) -> Vec<u8> {
        copy_range(&self.0.borrow().cached, range)
    }

    /// WAL as it would be found after a power failure that loses everything unsynced.
    pub fn read_durable(&self, range: Range<Lsn>) -> Vec<u8> {
        copy_range(&self.0.borrow().durable, range)
    }

    fn check_usable(&self) -> Result<(), StorageError> {
        match self.0.borrow().poisoned {
            true => Err("an earlier sync failed".into()),
            false => Ok(()),
        }
    }

    /// One step of an operation; power may fail at it.
    fn step(&self) -> Result<(), StorageError> {
        self.check_usable()?;
        let mut content = self.0.borrow_mut();
        match content.operations_left.as_mut() {
            Some(0) => Err(Box::new(PowerFailure)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&self, start: Lsn, bytes: &[u8]) {
        let content = &mut *self.0.borrow_mut();
        let range = offset(start)..offset(start) + bytes.len();
        if content.cached.len() < range.end {
            content.cached.resize(range.end, 0);
        }
        content.cached[range.clone()].copy_from_slice(bytes);
        content.dirty.push(range);
    }

    fn sync(&self) -> Result<(), StorageError> {
        let content = &mut *self.0.borrow_mut();
        if content.poisoned || std::mem::take(&mut content.sync_fails) {
            content.poisoned = true;
            return Err("failed sync".into());
        }
        if content.fault != DiskFault::IgnoresFlush {
            for range in std::mem::take(&mut content.dirty) {
                content.write_back(range, 1.0);
            }
        }
        Ok(())
    }

    fn zero_from(&self, end: Lsn) {
        let content = &mut *self.0.borrow_mut();
        let range = offset(end).min(content.cached.len())..content.cached.len();
        content.cached[range.clone()].fill(0);
        content.dirty.push(range);
    }

    fn syncs_truncation(&self) -> bool {
        self.0.borrow().fault != DiskFault::TruncatesLate
    }
}

impl Content {
    /// Carries each sector of `range` to the platter with probability `survival`.
    fn write_back(&mut self, range: Range<usize>, survival: f64) {
        if self.durable.len() < self.cached.len() {
            self.durable.resize(self.cached.len(), 0);
        }
        let mut start = range.start;
        while start < range.end {
            let end = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(range.end);
            if self.rng.random_bool(survival) {
                self.durable[start..end].copy_from_slice(&self.cached[start..end]);
            }
            start = end;
        }
    }
}

fn offset(lsn: Lsn) -> usize {
    (lsn - DATABASE_START) as usize
}

fn copy_range(image: &[u8], range: Range<Lsn>) -> Vec<u8> {
    let (start, end) = (offset(range.start), offset(range.end));
    let mut bytes = image.get(start..end.min(image.len())).unwrap_or_default().to_vec();
    bytes.resize(end - start, 0);
    bytes
}

impl Platform for Disk {
    const START: Lsn = DATABASE_START;
    type Wal = SimulatedWal;
    type Control = Disk;

    fn new(seed: u64, fault: DiskFault) -> Self {
        Disk::new(seed, fault)
    }

    fn record(_: Lsn, fill: u64, words: usize) -> Vec<u8> {
        record(fill, words)
    }

    fn fail_after(&self, operations: u32) {
        Disk::fail_after(self, operations);
    }

    fn fail_next_sync(&self) {
        self.0.borrow_mut().sync_fails = true;
    }

    fn has_failed(&self) -> bool {
        self.0.borrow().operations_left == Some(0)
    }

    fn needs_restart(&self) -> bool {
        self.0.borrow().poisoned
    }

    fn power_failure(&self) {
        Disk::power_failure(self);
    }

    fn control_file(&self) -> Option<ControlFile> {
        Disk::control_file(self)
    }

    fn control_store(&self) -> Disk {
        self.clone()
    }

    fn open_wal(&self, file: &ControlFile) -> SimulatedWal {
        SimulatedWal::open(self.clone(), file)
    }

    fn read(&self, range: Range<Lsn>) -> Vec<u8> {
        Disk::read(self, range)
    }

    fn read_durable(&self, range: Range<Lsn>) -> Vec<u8> {
        Disk::read_durable(self, range)
    }

    fn durable_starts_with(&self, wal: &[u8]) -> bool {
        self.0.borrow().durable.starts_with(wal)
    }

    fn is_synced(&self, range: Range<Lsn>) -> bool {
        let content = self.0.borrow();
        let range = offset(range.start)..offset(range.end);
        let durable = content.durable.get(range.clone());
        durable.is_some() && durable == content.cached.get(range)
    }
}

impl ControlStore for Disk {
    fn persist(&mut self, state: &ControlFile) -> Result<(), StorageError> {
        self.step()?;
        self.0.borrow_mut().control = Some(state.encode());
        self.step()
    }
}

/// One opening of the WAL on a disk.
#[derive(Debug)]
pub struct SimulatedWal {
    disk: Disk,
    write_lsn: Lsn,
    write_record_lsn: Lsn,
    flush_record_lsn: Lsn,
    /// Garbage may follow the end of the log until the first truncation.
    dirty_tail: bool,
}

impl SimulatedWal {
    /// Finds the end of the log, scanning from the persistent commit position.
    pub fn open(disk: Disk, state: &ControlFile) -> Self {
        let mut end = state.commit_lsn;
        if end.is_valid() {
            let image = disk.0.borrow().cached.clone();
            while let Decoded::Record(length) = decode(image.get(offset(end)..).unwrap_or(&[])) {
                end = end + length as u64;
            }
            disk.sync().expect("no failure is planned");
        }
        Self {
            disk,
            write_lsn: end,
            write_record_lsn: end,
            flush_record_lsn: end,
            dirty_tail: true,
        }
    }
}

impl WalStorage for SimulatedWal {
    fn write_lsn(&self) -> Lsn {
        self.write_lsn
    }

    fn write_record_lsn(&self) -> Lsn {
        self.write_record_lsn
    }

    fn flush_record_lsn(&self) -> Lsn {
        self.flush_record_lsn
    }

    fn initialize_first_segment(&mut self, _: Lsn, _: &ServerInfo) -> Result<(), StorageError> {
        self.disk.step()
    }

    fn write_wal(&mut self, start: Lsn, wal: &[u8]) -> Result<(), StorageError> {
        self.disk.step()?;
        if start != self.write_lsn {
            return Err(format!("write at {start}, log ends at {}", self.write_lsn).into());
        }
        if self.dirty_tail {
            return Err("write before the first truncation".into());
        }
        self.disk.write(start, wal);
        self.write_lsn = start + wal.len() as u64;
        let pending = self.disk.read(self.write_record_lsn..self.write_lsn);
        let mut pending = pending.as_slice();
        loop {
            match decode(pending) {
                Decoded::Record(length) => {
                    self.write_record_lsn = self.write_record_lsn + length as u64;
                    pending = &pending[length..];
                }
                Decoded::Incomplete => return self.disk.step(),
                Decoded::Invalid => {
                    return Err(format!("invalid record at {}", self.write_record_lsn).into());
                }
            }
        }
    }

    fn truncate_wal(&mut self, end: Lsn) -> Result<(), StorageError> {
        if self.write_lsn.is_valid() && end > self.write_lsn {
            return Err(format!("truncate at {end}, log ends at {}", self.write_lsn).into());
        }
        if !self.dirty_tail && end == self.write_lsn && end == self.flush_record_lsn {
            return Ok(());
        }
        self.dirty_tail = true;
        self.disk.step()?;
        self.disk.zero_from(end);
        self.disk.step()?;
        if self.disk.syncs_truncation() {
            self.disk.sync()?;
        }
        self.disk.step()?;
        self.dirty_tail = false;
        self.write_lsn = end;
        self.write_record_lsn = end;
        self.flush_record_lsn = end;
        Ok(())
    }

    fn flush_wal(&mut self) -> Result<(), StorageError> {
        // After a failed sync not even what seems to be flushed may be vouched for.
        self.disk.check_usable()?;
        if self.flush_record_lsn == self.write_record_lsn {
            return Ok(());
        }
        self.disk.step()?;
        self.disk.sync()?;
        self.disk.step()?;
        self.flush_record_lsn = self.write_record_lsn;
        Ok(())
    }
}
