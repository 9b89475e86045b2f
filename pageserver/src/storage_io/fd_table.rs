//! A table of open descriptors, and files that may lose theirs.
//!
//! The victim is chosen by the clock algorithm: whoever was not used since the hand passed last.
//! A reader holds its file while it reads, so that the descriptor is not closed under it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::direct::{self, DirectAlignment, IoMode};
use super::metrics::IoOperation;

/// One place for a descriptor.
#[derive(Debug, Default)]
struct Slot {
    inner: RwLock<SlotInner>,
    recently_used: AtomicBool,
}

#[derive(Debug, Default)]
struct SlotInner {
    /// Changes with every new occupant, so that the former one notices.
    tag: u64,
    file: Option<Arc<File>>,
}

/// The descriptors that are open.
#[derive(Debug)]
pub struct FdTable {
    slots: Box<[Slot]>,
    hand: AtomicUsize,
    mode: IoMode,
}

/// Where a file had its descriptor last.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    slot: usize,
    tag: u64,
}

/// A file that is opened for reading when it is read.
#[derive(Debug)]
pub struct VirtualFile {
    path: PathBuf,
    table: Arc<FdTable>,
    place: Mutex<Option<Place>>,
    length_bytes: u64,
    /// Of direct reads; `None` if the file is read through the operating system's cache.
    alignment: Option<DirectAlignment>,
}

impl FdTable {
    /// Room for so many descriptors, at least one, of files that are read in this mode.
    pub fn new(capacity: usize, mode: IoMode) -> FdTable {
        let slots = std::iter::repeat_with(Slot::default).take(capacity.max(1)).collect();
        FdTable { slots, hand: AtomicUsize::new(0), mode }
    }

    /// How many descriptors are open.
    pub fn open_count(&self) -> usize {
        let is_open = |slot: &&Slot| slot.read(|inner| inner.file.is_some());
        self.slots.iter().filter(is_open).count()
    }

    fn get(&self, place: Place) -> Option<Arc<File>> {
        let slot = self.slots.get(place.slot)?;
        let file = slot.read(|inner| match inner.tag == place.tag {
            true => inner.file.clone(),
            false => None,
        })?;
        slot.recently_used.store(true, Ordering::Relaxed);
        Some(file)
    }

    /// Puts a descriptor into a slot, closing whatever was there.
    fn put(&self, file: Arc<File>) -> Place {
        // After two rounds every mark is gone, unless others set them as fast as we clear them.
        let tries = self.slots.len() * 2 + 1;
        let mut number = 0;
        for _ in 0..tries {
            number = self.hand.fetch_add(1, Ordering::Relaxed) % self.slots.len();
            let used = self
                .slots
                .get(number)
                .is_some_and(|slot| slot.recently_used.swap(false, Ordering::Relaxed));
            if !used {
                break;
            }
        }
        let tag = self.slots.get(number).map_or(0, |slot| slot.replace(Some(file)));
        Place { slot: number, tag }
    }

    /// Closes a descriptor that is not needed any more.
    fn close(&self, place: Place) {
        if let Some(slot) = self.slots.get(place.slot) {
            slot.close(place.tag);
        }
    }
}

impl Slot {
    fn read<R>(&self, look: impl FnOnce(&SlotInner) -> R) -> R {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, file: Option<Arc<File>>) -> u64 {
        let (old, tag) = {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            inner.tag += 1;
            (std::mem::replace(&mut inner.file, file), inner.tag)
        };
        self.recently_used.store(true, Ordering::Relaxed);
        if let Some(old) = old {
            // Closing may take a while: not under the lock.
            IoOperation::CloseByReplace.time(|| drop(old));
        }
        tag
    }

    fn close(&self, tag: u64) {
        let old = {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            if inner.tag != tag {
                return;
            }
            inner.file.take()
        };
        self.recently_used.store(false, Ordering::Relaxed);
        if let Some(old) = old {
            IoOperation::Close.time(|| drop(old));
        }
    }
}

impl VirtualFile {
    /// Opens the file at `path` for reading.
    pub fn open(path: &Path, table: &Arc<FdTable>) -> io::Result<VirtualFile> {
        let (file, alignment) = IoOperation::Open.time(|| direct::open(path, table.mode))?;
        let length_bytes = IoOperation::Metadata.time(|| file.metadata())?.len();
        let place = table.put(Arc::new(file));
        Ok(VirtualFile {
            path: path.to_owned(),
            table: Arc::clone(table),
            place: Mutex::new(Some(place)),
            length_bytes,
            alignment,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes when it was opened. Files that are read here do not change.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Fills `buffer` from `offset`; ends with `UnexpectedEof` when the file is too short.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = self.file()?;
        IoOperation::Read.time(|| match self.alignment {
            Some(alignment) => alignment.read_exact_at(&file, buffer, offset),
            None => file.read_exact_at(buffer, offset),
        })
    }

    /// As it was opened first, whatever the kernel would say now.
    fn mode(&self) -> IoMode {
        if self.alignment.is_some() { IoMode::Direct } else { IoMode::Buffered }
    }

    /// The open file, opened again if it lost its descriptor.
    fn file(&self) -> io::Result<Arc<File>> {
        // Held while opening, so that one of several readers does it for all.
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = place.and_then(|place| self.table.get(place)) {
            return Ok(file);
        }
        let open = || direct::open(&self.path, self.mode());
        let file = Arc::new(IoOperation::OpenAfterReplace.time(open)?.0);
        *place = Some(self.table.put(Arc::clone(&file)));
        Ok(file)
    }
}

impl Drop for VirtualFile {
    fn drop(&mut self) {
        if let Some(place) = *self.place.get_mut().unwrap_or_else(PoisonError::into_inner) {
            self.table.close(place);
        }
    }
}

#[cfg(test)]
mod tests;
