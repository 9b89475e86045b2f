//! A file system in memory that forgets what was not synced.
//!
//! Content is kept in sectors, which survive a power failure one by one. Creations, renames and
//! removals survive in the order they were made, up to some point. One directory is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use camino::Utf8Path;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use safekeeper::files::{Access, DiskFile, FileSystem};
use wal_quorum::simulation::DiskFault;

const SECTOR_BYTES: u64 = 512;

type Sector = [u8; SECTOR_BYTES as usize];
/// Sectors that are not all zeros.
type Sectors = BTreeMap<u64, Box<Sector>>;
/// Names and the numbers of their files.
type Directory = BTreeMap<String, usize>;

#[derive(Clone, Debug, Default)]
struct Image {
    sectors: Sectors,
    length: u64,
}

#[derive(Debug, Default)]
struct Inode {
    cached: Image,
    durable: Image,
    /// Sectors in which both may differ.
    dirty: BTreeSet<u64>,
    /// The next sync of the content does nothing.
    defers_sync: bool,
}

#[derive(Clone, Debug)]
enum Entry {
    Set(String, usize),
    Removed(String),
    /// One step on disk: a crash leaves the file under either name.
    Renamed(String, String),
}

#[derive(Debug)]
struct Content {
    inodes: Vec<Inode>,
    cached: Directory,
    durable: Directory,
    /// Changes of the directory since it was synced.
    pending: Vec<Entry>,
    fault: DiskFault,
    rng: StdRng,
    operations_left: Option<u32>,
    failed: bool,
    sync_fails: bool,
    poisoned: bool,
}

/// The file system. Clones share it.
#[derive(Clone, Debug)]
pub struct SimulatedFiles(Arc<Mutex<Content>>);

impl SimulatedFiles {
    pub fn new(seed: u64, fault: DiskFault) -> Self {
        Self(Arc::new(Mutex::new(Content {
            inodes: Vec::new(),
            cached: Directory::new(),
            durable: Directory::new(),
            pending: Vec::new(),
            fault,
            rng: StdRng::seed_from_u64(seed),
            operations_left: None,
            failed: false,
            sync_fails: false,
            poisoned: false,
        })))
    }

    pub fn fail_after(&self, operations: u32) {
        self.lock().operations_left = Some(operations);
    }

    pub fn fail_next_sync(&self) {
        self.lock().sync_fails = true;
    }

    /// Runs something during which nothing that is planned goes wrong.
    pub fn without_failures<T>(&self, work: impl FnOnce() -> T) -> T {
        let planned = |content: &mut Content| {
            (content.operations_left.take(), std::mem::take(&mut content.sync_fails))
        };
        let (operations_left, sync_fails) = planned(&mut self.lock());
        let outcome = work();
        let mut content = self.lock();
        (content.operations_left, content.sync_fails) = (operations_left, sync_fails);
        drop(content);
        outcome
    }

    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }

    pub fn is_poisoned(&self) -> bool {
        self.lock().poisoned
    }

    /// Power is gone: unsynced sectors survive or vanish at random.
    pub fn power_failure(&self) {
        self.lock().power_failure();
    }

    /// A whole file as it is seen, or as it would be found after losing everything unsynced.
    pub fn content(&self, name: &str, durable: bool) -> Option<Vec<u8>> {
        let content = self.lock();
        let length = content.image(name, durable)?.length;
        drop(content);
        self.range(name, 0..length, durable)
    }

    /// Part of a file; zeros beyond its end.
    pub fn range(&self, name: &str, range: Range<u64>, durable: bool) -> Option<Vec<u8>> {
        let content = self.lock();
        let mut bytes = vec![0; (range.end - range.start) as usize];
        content.image(name, durable)?.read(&mut bytes, range.start);
        Some(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("nobody panics in here")
    }
}

impl Image {
    /// Fills the buffer from `offset` on; what lies beyond the end stays as it is.
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let end = self.length.min(offset + buffer.len() as u64).max(offset);
        let mut position = offset;
        while position < end {
            let (sector, within) = (position / SECTOR_BYTES, position % SECTOR_BYTES);
            let count = (SECTOR_BYTES - within).min(end - position) as usize;
            let at = (position - offset) as usize;
            let target = &mut buffer[at..at + count];
            match self.sectors.get(&sector) {
                Some(bytes) => target.copy_from_slice(&bytes[within as usize..][..count]),
                None => target.fill(0),
            }
            position += count as u64;
        }
        (end - offset) as usize
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut position = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (sector, within) = (position / SECTOR_BYTES, position % SECTOR_BYTES);
            let count = ((SECTOR_BYTES - within) as usize).min(rest.len());
            let (now, later) = rest.split_at(count);
            let target = self.cached.sectors.entry(sector).or_insert_with(|| Box::new([0; 512]));
            target[within as usize..][..count].copy_from_slice(now);
            self.dirty.insert(sector);
            position += count as u64;
            rest = later;
        }
        self.cached.length = self.cached.length.max(position);
    }

    fn write_zeros(&mut self, range: Range<u64>) {
        let whole = range.start.div_ceil(SECTOR_BYTES)..range.end / SECTOR_BYTES;
        let head = range.start..range.end.min(whole.start * SECTOR_BYTES);
        self.write(&vec![0; (head.end - head.start) as usize], head.start);
        let doomed: Vec<u64> =
            self.cached.sectors.range(whole).map(|(sector, _)| *sector).collect();
        for sector in doomed {
            self.cached.sectors.remove(&sector);
            self.dirty.insert(sector);
        }
        self.cached.length = self.cached.length.max(range.end);
    }

    /// Carries each dirty sector to the platter with probability `survival`.
    fn write_back(&mut self, survival: f64, rng: &mut StdRng) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.random_bool(survival) {
                match self.cached.sectors.get(&sector) {
                    Some(bytes) => drop(self.durable.sectors.insert(sector, bytes.clone())),
                    None => drop(self.durable.sectors.remove(&sector)),
                }
            }
        }
        if rng.random_bool(survival) {
            self.durable.length = self.cached.length;
        }
    }
}

impl Content {
    fn image(&self, name: &str, durable: bool) -> Option<&Image> {
        let directory = if durable { &self.durable } else { &self.cached };
        let inode = &self.inodes[*directory.get(name)?];
        Some(if durable { &inode.durable } else { &inode.cached })
    }

    /// One step of an operation; power may fail at it.
    fn step(&mut self) -> io::Result<()> {
        match self.operations_left.as_mut() {
            Some(0) => {
                self.failed = true;
                Err(io::Error::other("power failure"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn power_failure(&mut self) {
        let survival = [0.0, 0.5, 1.0][self.rng.random_range(0..3)];
        for inode in &mut self.inodes {
            inode.write_back(survival, &mut self.rng);
            inode.cached = inode.durable.clone();
            inode.defers_sync = false;
        }
        let pending = std::mem::take(&mut self.pending);
        let surviving = self.rng.random_range(0..=pending.len());
        for entry in pending.into_iter().take(surviving) {
            apply(&mut self.durable, entry);
        }
        self.cached.clone_from(&self.durable);
        (self.operations_left, self.failed) = (None, false);
        (self.sync_fails, self.poisoned) = (false, false);
    }

    fn change(&mut self, entry: Entry) {
        apply(&mut self.cached, entry.clone());
        self.pending.push(entry);
    }

    /// A failed sync loses what was to be synced: the cache takes it for clean.
    fn begin_sync(&mut self) -> io::Result<()> {
        self.step()?;
        match std::mem::take(&mut self.sync_fails) {
            true => {
                self.poisoned = true;
                Err(io::Error::other("the disk does not answer"))
            }
            false => Ok(()),
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        if let Err(error) = self.begin_sync() {
            if self.poisoned {
                let inode = &mut self.inodes[inode];
                inode.dirty.clear();
                inode.cached = inode.durable.clone();
            }
            return Err(error);
        }
        self.inodes[inode].write_back(1.0, &mut self.rng);
        self.step()
    }
}

fn apply(directory: &mut Directory, entry: Entry) {
    match entry {
        Entry::Set(name, inode) => drop(directory.insert(name, inode)),
        Entry::Removed(name) => drop(directory.remove(&name)),
        Entry::Renamed(from, to) => {
            if let Some(inode) = directory.remove(&from) {
                directory.insert(to, inode);
            }
        }
    }
}

fn name(path: &Utf8Path) -> String {
    path.file_name().expect("every path has a name").to_owned()
}

/// An open file.
#[derive(Debug)]
struct OpenFile {
    files: SimulatedFiles,
    inode: usize,
}

impl FileSystem for SimulatedFiles {
    fn open(&self, path: &Utf8Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut content = self.lock();
        let known = content.cached.get(&name(path)).copied();
        let inode = match (known, access) {
            (Some(inode), Access::Read | Access::Write) => inode,
            (None, Access::Read | Access::Write) => return Err(ErrorKind::NotFound.into()),
            (_, Access::Create) => {
                content.step()?;
                content.inodes.push(Inode::default());
                let inode = content.inodes.len() - 1;
                content.change(Entry::Set(name(path), inode));
                inode
            }
        };
        Ok(Box::new(OpenFile { files: self.clone(), inode }))
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        let mut content = self.lock();
        content.step()?;
        if !content.cached.contains_key(&name(from)) {
            return Err(ErrorKind::NotFound.into());
        }
        content.change(Entry::Renamed(name(from), name(to)));
        content.step()
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        let mut content = self.lock();
        if !content.cached.contains_key(&name(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        content.step()?;
        content.change(Entry::Removed(name(path)));
        Ok(())
    }

    fn list(&self, _: &Utf8Path) -> io::Result<Vec<String>> {
        Ok(self.lock().cached.keys().cloned().collect())
    }

    fn sync_dir(&self, _: &Utf8Path) -> io::Result<()> {
        let content = &mut *self.lock();
        content.begin_sync()?;
        for entry in std::mem::take(&mut content.pending) {
            apply(&mut content.durable, entry);
        }
        content.step()
    }
}

impl DiskFile for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.files.lock().inodes[self.inode].cached.read(buffer, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.files.lock();
        content.step()?;
        content.inodes[self.inode].write(bytes, offset);
        content.step()
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut content = self.files.lock();
        content.step()?;
        content.inodes[self.inode].write_zeros(range);
        // Truncation that reaches the platter only later, after the new history.
        content.inodes[self.inode].defers_sync = content.fault == DiskFault::TruncatesLate;
        content.step()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.files.lock();
        let deferred = std::mem::take(&mut content.inodes[self.inode].defers_sync);
        if deferred || content.fault == DiskFault::IgnoresFlush {
            return Ok(());
        }
        content.sync(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut content = self.files.lock();
        content.inodes[self.inode].defers_sync = false;
        content.sync(self.inode)
    }
}
