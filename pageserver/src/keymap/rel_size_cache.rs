//! Relation sizes of one timeline that are known without reading.
//!
//! Ingest sets an entry with every change, so an entry is right for every LSN from its own on
//! until the next change. Reads may add entries only if no change can have been forgotten
//! since their LSN. Bounded: a full cache is emptied.

use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashMapExt};
use postgres_ffi::{BlockNumber, Oid, RelTag};
use utils::Lsn;

/// Relations remembered before the cache is emptied; some 40 bytes each.
const MAX_ENTRIES: usize = 1_000_000;

/// Sizes by relation fork.
#[derive(Debug)]
pub struct RelSizeCache {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sizes: HashMap<RelTag, (Lsn, BlockNumber)>,
    /// Reads below this LSN must not add entries: a change since then may be forgotten.
    complete_as_of: Lsn,
}

impl RelSizeCache {
    /// For a timeline whose contents are known to be unchanged since `complete_as_of`, its last
    /// record when it was loaded.
    pub fn new(complete_as_of: Lsn) -> Self {
        let inner = Inner { sizes: HashMap::new(), complete_as_of };
        RelSizeCache { inner: Mutex::new(inner) }
    }

    /// The size at `lsn`, if known.
    pub fn get(&self, rel: RelTag, lsn: Lsn) -> Option<BlockNumber> {
        let inner = self.lock();
        inner.sizes.get(&rel).filter(|(since, _)| *since <= lsn).map(|(_, blocks)| *blocks)
    }

    /// Remembers the result of a read at `lsn`.
    pub fn remember_read(&self, rel: RelTag, lsn: Lsn, blocks: BlockNumber) {
        let mut inner = self.lock();
        let outdated = inner.sizes.get(&rel).is_some_and(|(since, _)| *since >= lsn);
        if lsn >= inner.complete_as_of && !outdated {
            inner.insert(rel, lsn, blocks);
        }
    }

    /// Ingest changed the size at `lsn`.
    pub fn set(&self, rel: RelTag, lsn: Lsn, blocks: BlockNumber) {
        self.lock().insert(rel, lsn, blocks);
    }

    /// Ingest dropped the relation fork at `lsn`.
    pub fn remove(&self, rel: RelTag, lsn: Lsn) {
        let mut inner = self.lock();
        inner.sizes.remove(&rel);
        inner.forget_before(lsn);
    }

    /// Ingest dropped every relation of a database at `lsn`.
    pub fn remove_database(&self, spcnode: Oid, dbnode: Oid, lsn: Lsn) {
        let mut inner = self.lock();
        inner.sizes.retain(|rel, _| rel.spcnode != spcnode || rel.dbnode != dbnode);
        inner.forget_before(lsn);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Every update is one insertion or removal, so a poisoned map is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, rel: RelTag, lsn: Lsn, blocks: BlockNumber) {
        if self.sizes.len() >= MAX_ENTRIES && !self.sizes.contains_key(&rel) {
            self.sizes.clear();
            self.forget_before(lsn);
        }
        self.sizes.insert(rel, (lsn, blocks));
    }

    fn forget_before(&mut self, lsn: Lsn) {
        self.complete_as_of = self.complete_as_of.max(lsn);
    }
}

#[cfg(test)]
mod tests;
