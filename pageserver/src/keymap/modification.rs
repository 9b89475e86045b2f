//! A batch of changes to a timeline, committed together.
//!
//! Collects the values of many WAL records and makes them visible in one step, with every LSN
//! passed on the way. Reads through it see what is pending. Owns no decisions about what a WAL
//! record means. If it is dropped without a commit, nothing has happened; the relation size
//! cache may then be ahead, which its entries' LSNs make harmless.

mod aux_file;
mod database;
mod files;
mod relation;
mod slru;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, Value, WalRecord};
use postgres_ffi::{PgMajor, RelTag, SlruKind};
use utils::Lsn;

use super::directory_counts::DirectoryKind;
use super::read::{Keymap, KeymapError};
use super::rel_size_cache::RelSizeCache;
use super::store::{BatchEffects, KeyReadError, KeyReader, KeyStore, KeyWriteError, KeyedValue};

/// Blocks of pending growth beyond which an import writes data blocks out early.
const FLUSH_THRESHOLD_BLOCKS: i64 = 10_000;

/// Why a change could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ModificationError {
    /// Existing contents could not be read.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
    /// The batch could not be written.
    #[error(transparent)]
    Write(#[from] KeyWriteError),
    /// LSNs only ascend.
    #[error("setting an older lsn {new} than {current} is not allowed")]
    OlderLsn {
        /// The LSN asked for.
        new: Lsn,
        /// The batch's LSN.
        current: Lsn,
    },
    /// Relation file 0 does not exist.
    #[error("invalid relnode: {0}")]
    InvalidRelnode(RelTag),
    /// The relation fork is there already.
    #[error("Relation Already Exists: {0}")]
    RelationExists(RelTag),
    /// The SLRU segment is there already.
    #[error("slru segment {kind:?}/{segment} already exists")]
    SlruSegmentExists {
        /// Which SLRU.
        kind: SlruKind,
        /// Which segment.
        segment: u32,
    },
    /// The prepared transaction is there already.
    #[error("twophase file for xid {0} already exists")]
    TwoPhaseExists(u64),
}

impl From<KeyReadError> for ModificationError {
    fn from(error: KeyReadError) -> Self {
        ModificationError::Keymap(error.into())
    }
}

/// Changes that are not visible yet.
#[derive(Debug)]
pub struct DatadirModification<'a, S> {
    store: &'a S,
    major: PgMajor,
    lsn: Lsn,
    /// LSNs that were current and have been left.
    passed: Vec<Lsn>,
    /// All values in LSN order.
    batch: Vec<KeyedValue>,
    /// Index in `batch` of each key's last value.
    latest: HashMap<Key, usize>,
    /// What else changes.
    effects: BatchEffects,
    /// Ranges whose contents became unreachable. Nothing is stored for them: what exists is
    /// decided by directories and sizes.
    ranges_dropped: usize,
}

impl<'a, S: KeyStore> DatadirModification<'a, S> {
    /// Begins a batch at `lsn`. For WAL that is the end of the last visible record, so that
    /// the record before each new one is known.
    pub fn begin(store: &'a S, major: PgMajor, lsn: Lsn) -> Self {
        DatadirModification {
            store,
            major,
            lsn,
            passed: Vec::new(),
            batch: Vec::new(),
            latest: HashMap::new(),
            effects: BatchEffects::default(),
            ranges_dropped: 0,
        }
    }

    /// The LSN of new values.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Moves on to a later LSN.
    pub fn set_lsn(&mut self, lsn: Lsn) -> Result<(), ModificationError> {
        if lsn < self.lsn {
            return Err(ModificationError::OlderLsn { new: lsn, current: self.lsn });
        }
        if lsn > self.lsn {
            self.passed.push(self.lsn);
            self.lsn = lsn;
        }
        Ok(())
    }

    /// Contents as of this batch's LSN, pending changes included.
    pub fn keymap(&self) -> Keymap<'_, Self> {
        Keymap::at(self, self.lsn)
    }

    /// A number that grows when a record changes something that was not pending yet.
    pub fn pending_count(&self) -> usize {
        self.latest.len() + self.ranges_dropped
    }

    /// Whether a commit would write values.
    pub fn has_pending_values(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Makes everything visible, up to the current LSN even if nothing was changed. The batch
    /// can be used on for later LSNs.
    pub async fn commit(&mut self) -> Result<(), ModificationError> {
        let batch = std::mem::take(&mut self.batch);
        self.latest.clear();
        self.ranges_dropped = 0;
        self.passed.push(self.lsn);
        let finished = std::mem::take(&mut self.passed);
        let effects = std::mem::take(&mut self.effects);
        Ok(self.store.write(batch, &finished, effects).await?)
    }

    /// For imports: writes data blocks out if there are many, and keeps everything else
    /// pending. Nothing becomes visible.
    pub async fn flush_data_blocks(&mut self) -> Result<(), ModificationError> {
        if self.effects.added_blocks < FLUSH_THRESHOLD_BLOCKS {
            return Ok(());
        }
        let is_data = |value: &KeyedValue| value.0.is_rel_block() || value.0.is_slru_block();
        let (data, kept): (Vec<KeyedValue>, Vec<KeyedValue>) =
            std::mem::take(&mut self.batch).into_iter().partition(is_data);
        self.latest = kept.iter().enumerate().map(|(at, value)| (value.0, at)).collect();
        self.batch = kept;
        let added_blocks = std::mem::take(&mut self.effects.added_blocks);
        let effects = BatchEffects { added_blocks, ..BatchEffects::default() };
        Ok(self.store.write(data, &[], effects).await?)
    }

    /// Sets a key's value at the current LSN, replacing one of the same LSN.
    fn put(&mut self, key: Key, value: Value) {
        if let Some(&at) = self.latest.get(&key)
            && let Some(last) = self.batch.get_mut(at)
            && last.1 == self.lsn
        {
            last.2 = value;
            return;
        }
        self.latest.insert(key, self.batch.len());
        self.batch.push((key, self.lsn, value));
    }

    fn put_image(&mut self, key: Key, image: Bytes) {
        self.put(key, Value::Image(image));
    }

    fn put_directory(
        &mut self,
        key: Key,
        kind: Option<DirectoryKind>,
        (image, entries): (Bytes, usize),
    ) {
        if let Some(kind) = kind {
            self.effects.directory_entries.insert(kind, entries as u64);
        }
        self.put_image(key, image);
    }

    fn put_size(&mut self, key: Key, blocks: u32) {
        self.put_image(key, Bytes::copy_from_slice(&blocks.to_le_bytes()));
    }

    fn put_record(&mut self, key: Key, record: WalRecord) {
        self.put(key, Value::WalRecord(record));
    }

    /// What is reachable by these keys no longer exists.
    fn drop_range(&mut self, _range: Range<Key>) {
        self.ranges_dropped += 1;
    }

    fn pending(&self, key: &Key) -> Option<&Value> {
        let at = *self.latest.get(key)?;
        self.batch.get(at).map(|(_, _, value)| value)
    }
}

impl<S: KeyStore> KeyReader for DatadirModification<'_, S> {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        match self.pending(&key) {
            Some(Value::Image(image)) => Ok(image.clone()),
            Some(Value::WalRecord(_)) => Err(KeyReadError::PendingRecord(key)),
            None => self.store.get(key, lsn.max(self.store.last_record_lsn())).await,
        }
    }

    async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        let lsn = lsn.max(self.store.last_record_lsn());
        let mut found = self.store.scan(range.clone(), lsn).await?;
        for key in self.latest.keys().filter(|key| range.contains(key)) {
            if let Some(Value::Image(image)) = self.pending(key) {
                found.insert(*key, image.clone());
            }
        }
        Ok(found)
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        self.store.rel_size_cache()
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.effects.aux_file_policy.or_else(|| self.store.aux_file_policy())
    }
}

#[cfg(test)]
mod tests;
