//! The in-memory layer: where ingest writes, until it is frozen and written out as a delta.
//!
//! The index is in memory, the values in an [`EphemeralFile`]. The lock is held over reads and
//! writes of that file, which hit the kernel's page cache: that is its purpose. It is never held
//! across an await.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::num::NonZeroU32;
use std::ops::Range;
use std::slice;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use camino::{Utf8Path, Utf8PathBuf};
use layer_format::{DeltaLayerWriter, LayerFileError, LayerName};
use pageserver_api::keyspace::KeySpace;
use pageserver_api::{Key, Value};
use utils::{Generation, Lsn, TenantId, TimelineId};

use super::ephemeral::EphemeralFile;
use super::reconstruct::{ReconstructState, ValueError};

/// Where a value is in the ephemeral file.
#[derive(Clone, Copy)]
struct Position {
    offset: u64,
    length: u32,
    will_init: bool,
}

/// The values of one key, oldest first. Most keys have one: it needs no memory of its own.
enum Versions {
    One((Lsn, Position)),
    Many(Vec<(Lsn, Position)>),
}

struct Inner {
    index: BTreeMap<Key, Versions>,
    file: EphemeralFile,
}

impl Versions {
    fn as_slice(&self) -> &[(Lsn, Position)] {
        match self {
            Versions::One(one) => slice::from_ref(one),
            Versions::Many(many) => many,
        }
    }

    /// Adds a value at the LSN of the newest one, which it replaces, or above it.
    fn push(&mut self, key: &Key, added: (Lsn, Position)) {
        let newest = match self {
            Versions::One(one) => Some(one),
            Versions::Many(many) => many.last_mut(),
        };
        if let Some(newest) = newest {
            assert!(newest.0 <= added.0, "{key} written backwards");
            if newest.0 == added.0 {
                *newest = added;
                return;
            }
        }
        match self {
            Versions::One(one) => *self = Versions::Many(vec![*one, added]),
            Versions::Many(many) => many.push(added),
        }
    }
}

/// A layer that ingest writes to, or that waits to be written out.
pub struct InMemoryLayer {
    start_lsn: Lsn,
    /// Exclusive; set when the layer is frozen.
    end_lsn: OnceLock<Lsn>,
    opened_at: Instant,
    inner: RwLock<Inner>,
}

/// A frozen layer could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum WriteOutError {
    /// The ephemeral file could not be read back.
    #[error("cannot read back {path}: {source}")]
    ReadBack {
        /// The ephemeral file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The delta layer could not be written.
    #[error(transparent)]
    Delta(#[from] LayerFileError),
}

impl InMemoryLayer {
    /// Opens an empty layer for values from `start_lsn` on, with its file in `directory`.
    pub fn create(directory: &Utf8Path, start_lsn: Lsn) -> io::Result<InMemoryLayer> {
        let file = EphemeralFile::create(directory)?;
        Ok(InMemoryLayer {
            start_lsn,
            end_lsn: OnceLock::new(),
            opened_at: Instant::now(),
            inner: RwLock::new(Inner { index: BTreeMap::new(), file }),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first LSN the layer may hold.
    pub fn start_lsn(&self) -> Lsn {
        self.start_lsn
    }

    /// The end (exclusive), or the highest LSN while the layer is open.
    pub fn end_lsn(&self) -> Lsn {
        self.end_lsn.get().copied().unwrap_or(Lsn::MAX)
    }

    /// When the layer was opened.
    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// The LSNs the layer holds; it must be frozen.
    pub fn lsn_range(&self) -> Range<Lsn> {
        self.start_lsn..self.end_lsn()
    }

    /// Bytes of values so far.
    pub fn size_bytes(&self) -> u64 {
        self.read().file.length_bytes()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.read().index.is_empty()
    }

    /// Ends the layer at `end_lsn` (exclusive). Later writes are a programming error.
    pub fn freeze(&self, end_lsn: Lsn) {
        assert!(end_lsn > self.start_lsn, "layer frozen at {end_lsn} before its start");
        let first = self.end_lsn.set(end_lsn).is_ok();
        assert!(first, "a layer is frozen once");
    }

    /// Adds values, all or none. Those of one key must come in ascending order of LSN; a second
    /// value of a key at the same LSN replaces the first.
    pub fn put_batch(&self, batch: &[(Key, Lsn, Value)]) -> io::Result<()> {
        assert!(self.end_lsn.get().is_none(), "write to a frozen layer");
        let mut inner = self.write();
        let mut positions = Vec::with_capacity(batch.len());
        let mut buffer = BytesMut::new();
        for (key, lsn, value) in batch {
            assert!(*lsn >= self.start_lsn, "write at {lsn} below the layer's start");
            buffer.clear();
            value.encode(&mut buffer);
            let length = u32::try_from(buffer.len()).map_err(|_| too_large(key))?;
            let offset = inner.file.append(&buffer)?;
            positions.push(Position { offset, length, will_init: value.will_init() });
        }
        // Only now that nothing can fail: whoever got an error may write the same again.
        for ((key, lsn, _), position) in batch.iter().zip(positions) {
            match inner.index.entry(*key) {
                Entry::Vacant(entry) => {
                    entry.insert(Versions::One((*lsn, position)));
                }
                Entry::Occupied(entry) => entry.into_mut().push(key, (*lsn, position)),
            }
        }
        Ok(())
    }

    /// Gathers values of the wanted keys with LSNs in `lsns`, newest first.
    pub fn gather(&self, keys: &KeySpace, lsns: &Range<Lsn>, state: &mut ReconstructState) {
        let inner = self.read();
        for range in &keys.ranges {
            for (key, versions) in inner.index.range(range.clone()) {
                if !state.wants(key) {
                    continue;
                }
                let versions = versions.as_slice();
                let end = versions.partition_point(|(lsn, _)| *lsn < lsns.end);
                let wanted = versions.iter().take(end).rev();
                for (lsn, position) in wanted.take_while(|(lsn, _)| *lsn >= lsns.start) {
                    match inner.file.read(position.offset, position.length as usize) {
                        Ok(bytes) => state.push_bytes(*key, *lsn, &Bytes::from(bytes)),
                        Err(error) => state.fail(*key, ValueError::Ephemeral(Arc::new(error))),
                    }
                    if position.will_init {
                        break;
                    }
                }
            }
        }
    }

    /// Where runs of records reach `ceiling`, by key: the LSNs of every `ceiling`-th record since
    /// the last value that needs nothing older. The layer must be frozen.
    pub fn long_chains(&self, ceiling: NonZeroU32) -> Vec<(Key, Vec<Lsn>)> {
        let inner = self.read();
        let mut chains = Vec::new();
        for (key, versions) in &inner.index {
            let versions = versions.as_slice();
            // Most keys have few versions; looking at each would be for nothing.
            if versions.len() < ceiling.get() as usize {
                continue;
            }
            let mut length = 0;
            let mut ends = Vec::new();
            for (lsn, position) in versions {
                length = if position.will_init { 1 } else { length + 1 };
                if length >= ceiling.get() {
                    ends.push(*lsn);
                    length = 0;
                }
            }
            if !ends.is_empty() {
                chains.push((*key, ends));
            }
        }
        chains
    }

    /// Writes a frozen layer out as a delta layer over the whole key space. `images` stand in
    /// for the values at the same keys and LSNs. Returns the layer's name, where it is, and its
    /// length. Blocks; the directory is not fsynced.
    pub fn write_out(
        &self,
        images: &BTreeMap<(Key, Lsn), Bytes>,
        directory: &Utf8Path,
        tenant_id: TenantId,
        timeline_id: TimelineId,
        generation: Generation,
    ) -> Result<(LayerName, Utf8PathBuf, u64), WriteOutError> {
        let inner = self.read();
        let values = inner.file.read_all().map_err(|source| WriteOutError::ReadBack {
            path: inner.file.path().to_owned(),
            source,
        })?;
        let lsns = self.lsn_range();
        let mut writer =
            DeltaLayerWriter::create(directory, tenant_id, timeline_id, Key::MIN, lsns)?;
        let mut buffer = BytesMut::new();
        for (key, versions) in &inner.index {
            for (lsn, position) in versions.as_slice() {
                if let Some(image) = images.get(&(*key, *lsn)) {
                    buffer.clear();
                    Value::Image(image.clone()).encode(&mut buffer);
                    writer.put(*key, *lsn, &buffer)?;
                    continue;
                }
                let start = position.offset as usize;
                let value =
                    values.get(start..start + position.length as usize).ok_or_else(|| {
                        WriteOutError::ReadBack {
                            path: inner.file.path().to_owned(),
                            source: io::ErrorKind::UnexpectedEof.into(),
                        }
                    })?;
                writer.put(*key, *lsn, value)?;
            }
        }
        Ok(writer.finish(Key::MAX, generation)?)
    }
}

fn too_large(key: &Key) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the value of {key} is too large"))
}

#[cfg(test)]
mod tests;
