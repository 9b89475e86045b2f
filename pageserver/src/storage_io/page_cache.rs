//! A bounded cache of blocks of immutable files.
//!
//! Readers get a shared block, so a block that is evicted lives on as long as somebody reads it.
//! Two readers of an absent block cause one read: the second waits for the first. A read that
//! fails leaves nothing behind. The victim is chosen by the clock algorithm over usage counts.
//!
//! The cache is divided, so that readers of different blocks seldom meet at a lock.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use layer_format::block::{BLOCK_SIZE, Block};

use super::metrics::{self, ContentKind, VictimOutcome};

/// Most parts the cache is divided into.
const MAX_PARTS: usize = 16;
/// A part has at least this many blocks, or the cache is not divided.
const MIN_PART_BLOCKS: usize = 64;
/// How often a block that is used a lot is passed over.
const MAX_USAGE: u8 = 5;
/// How many blocks are looked at to find a victim, in parts of the cache.
const MAX_ROUNDS: usize = 10;

/// Names files for the cache; never reused, so that a block is never taken for another's.
static NEXT_FILE: AtomicU64 = AtomicU64::new(1);

/// A file, for the time that it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u64);

impl FileId {
    /// A new one.
    pub fn fresh() -> FileId {
        FileId(NEXT_FILE.fetch_add(1, Ordering::Relaxed))
    }
}

/// A block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// The file.
    pub file: FileId,
    /// The block in it.
    pub block: u64,
}

#[derive(Debug)]
enum Content {
    /// Nothing.
    Empty,
    /// Somebody reads it from the file.
    Filling,
    /// Here.
    Ready(Block),
}

#[derive(Debug)]
struct Slot {
    /// Valid unless the slot is empty.
    key: PageKey,
    content: Content,
    usage: u8,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    index: HashMap<PageKey, usize>,
    hand: usize,
}

/// One part of the cache.
#[derive(Debug, Default)]
struct Part {
    inner: Mutex<Inner>,
    /// Wakes those that wait for a fill.
    filled: Condvar,
    capacity: usize,
}

/// The cache.
#[derive(Debug)]
pub struct PageCache {
    parts: Box<[Part]>,
    hasher: RandomState,
}

/// What a look at a part gives.
enum Found {
    Ready(Block),
    /// The caller is to fill this slot.
    Claimed(usize),
    /// Every slot is being filled.
    NoRoom,
}

impl PageCache {
    /// Room for so many blocks, at least one.
    pub fn new(blocks: usize) -> PageCache {
        let blocks = blocks.max(1);
        let count = (blocks / MIN_PART_BLOCKS).clamp(1, MAX_PARTS);
        let parts = (0..count).map(|part| Part {
            // The first ones take the remainder.
            capacity: blocks / count + usize::from(part < blocks % count),
            ..Part::default()
        });
        PageCache { parts: parts.collect(), hasher: RandomState::new() }
    }

    /// How many blocks are here.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().index.len()).sum()
    }

    /// Whether no block is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block, read by `fill` unless it is here.
    pub fn get(
        &self,
        key: PageKey,
        kind: ContentKind,
        fill: impl FnOnce() -> io::Result<Block>,
    ) -> io::Result<Block> {
        let part = self.part(&key);
        match part.find(key) {
            Found::Ready(block) => {
                metrics::count_access(kind, true);
                Ok(block)
            }
            Found::Claimed(slot) => {
                metrics::count_access(kind, false);
                let mut claim = Claim { part, slot, content: Content::Empty };
                let block = fill()?;
                claim.content = Content::Ready(Block::clone(&block));
                Ok(block)
            }
            Found::NoRoom => {
                metrics::count_access(kind, false);
                fill()
            }
        }
    }

    fn part(&self, key: &PageKey) -> &Part {
        let number = self.hasher.hash_one(key) as usize % self.parts.len();
        // There is at least one, and the remainder is below their number.
        self.parts.get(number).unwrap_or_else(|| unreachable!("part {number} of the page cache"))
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Fills run without the lock; what runs under it does not panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: PageKey) -> Found {
        let mut inner = self.lock();
        loop {
            let Some(number) = inner.index.get(&key).copied() else {
                return inner.claim(key, self.capacity);
            };
            match inner.slots.get_mut(number) {
                Some(Slot { content: Content::Ready(block), usage, .. }) => {
                    *usage = (*usage + 1).min(MAX_USAGE);
                    return Found::Ready(Block::clone(block));
                }
                // Someone else reads it. Should that fail, the key is gone and we try ourselves.
                Some(_) | None => {
                    inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Inner {
    /// Finds a slot for a block that is not here.
    fn claim(&mut self, key: PageKey, capacity: usize) -> Found {
        let Some(number) = self.find_victim(capacity) else { return Found::NoRoom };
        let slot = Slot { key, content: Content::Filling, usage: 1 };
        match self.slots.get_mut(number) {
            Some(old) => {
                if matches!(old.content, Content::Ready(_)) {
                    self.index.remove(&old.key);
                }
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        self.index.insert(key, number);
        Found::Claimed(number)
    }

    /// The number of a slot to use: a new one, or that of a block to evict.
    fn find_victim(&mut self, capacity: usize) -> Option<usize> {
        if self.slots.len() < capacity {
            metrics::count_victim(VictimOutcome::FoundEmpty, 1);
            return Some(self.slots.len());
        }
        let limit = capacity * MAX_ROUNDS;
        for looked_at in 1..=limit {
            let number = self.hand % self.slots.len();
            self.hand = number + 1;
            let slot = self.slots.get_mut(number)?;
            match slot.content {
                Content::Empty => {
                    metrics::count_victim(VictimOutcome::FoundEmpty, looked_at);
                    return Some(number);
                }
                Content::Ready(_) if slot.usage == 0 => {
                    metrics::count_victim(VictimOutcome::FoundEvicted, looked_at);
                    return Some(number);
                }
                Content::Ready(_) => slot.usage -= 1,
                Content::Filling => {}
            }
        }
        metrics::count_victim(VictimOutcome::ItersExceeded, limit);
        None
    }
}

/// The duty to say how a fill ended, also if it panics.
struct Claim<'a> {
    part: &'a Part,
    slot: usize,
    /// What the slot holds from now on.
    content: Content,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut inner = self.part.lock();
        let content = std::mem::replace(&mut self.content, Content::Empty);
        let failed = matches!(content, Content::Empty);
        if let Some(slot) = inner.slots.get_mut(self.slot) {
            slot.content = content;
            let key = slot.key;
            if failed {
                inner.index.remove(&key);
            }
        }
        drop(inner);
        self.part.filled.notify_all();
    }
}

/// Bytes of one cached block.
pub const PAGE_BYTES: usize = BLOCK_SIZE;

#[cfg(test)]
mod tests;
