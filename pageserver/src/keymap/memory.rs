//! A timeline in memory, for tests: keeps every version and redoes records on reads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, Value, WalRecord};
use postgres_ffi::{BLCKSZ, PgMajor};
use utils::Lsn;

use super::rel_size_cache::RelSizeCache;
use super::store::{BatchEffects, KeyReadError, KeyReader, KeyStore, KeyWriteError, KeyedValue};
use crate::redo;

/// The newest image, if no later record initialises the page, and every record after it.
type Chain = (Option<(Lsn, Bytes)>, Vec<(Lsn, WalRecord)>);

/// Every version of every key, and what has been made visible.
#[derive(Debug)]
pub struct MemoryStore {
    major: PgMajor,
    values: Mutex<BTreeMap<(Key, Lsn), Value>>,
    /// Last and previous record.
    visible: Mutex<(Lsn, Lsn)>,
    sizes: RelSizeCache,
    logical_blocks: AtomicI64,
    aux_file_policy: Mutex<Option<AuxFilePolicy>>,
    /// What the tenant wants of auxiliary files.
    pub wanted_aux_file_policy: Mutex<Option<AuxFilePolicy>>,
}

impl MemoryStore {
    pub fn new(major: PgMajor) -> Self {
        MemoryStore {
            major,
            values: Mutex::default(),
            visible: Mutex::default(),
            sizes: RelSizeCache::new(Lsn::INVALID),
            logical_blocks: AtomicI64::new(0),
            aux_file_policy: Mutex::default(),
            wanted_aux_file_policy: Mutex::default(),
        }
    }

    /// The end of the record before the last one.
    pub fn prev_record_lsn(&self) -> Lsn {
        self.visible.lock().unwrap().1
    }

    pub fn logical_blocks(&self) -> i64 {
        self.logical_blocks.load(Ordering::SeqCst)
    }

    /// What the value at `lsn` is made of.
    fn chain(&self, key: Key, lsn: Lsn) -> Option<Chain> {
        let values = self.values.lock().unwrap();
        let mut records = Vec::new();
        for ((_, at), value) in values.range((key, Lsn(0))..=(key, lsn)).rev() {
            match value {
                Value::Image(image) => {
                    records.reverse();
                    return Some((Some((*at, image.clone())), records));
                }
                Value::WalRecord(record) => {
                    records.push((*at, record.clone()));
                    if value.will_init() {
                        break;
                    }
                }
            }
        }
        records.reverse();
        (!records.is_empty()).then_some((None, records))
    }
}

impl KeyReader for MemoryStore {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        let (base, records) = self.chain(key, lsn).ok_or(KeyReadError::Missing { key, lsn })?;
        if let (Some((_, image)), true) = (&base, records.is_empty()) {
            return Ok(image.clone());
        }
        redo::reconstruct(&redo::InProcessRedo, key, base, records, self.major)
            .await
            .map_err(|error| KeyReadError::Failed { key, lsn, source: Box::new(error) })
    }

    async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        let keys: Vec<Key> = {
            let values = self.values.lock().unwrap();
            let within = values.range((range.start, Lsn(0))..(range.end, Lsn(0)));
            within.map(|((key, _), _)| *key).collect()
        };
        let mut found = BTreeMap::new();
        for key in keys {
            match self.get(key, lsn).await {
                Ok(value) => drop(found.insert(key, value)),
                Err(KeyReadError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        &self.sizes
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        *self.aux_file_policy.lock().unwrap()
    }
}

impl KeyStore for MemoryStore {
    fn last_record_lsn(&self) -> Lsn {
        self.visible.lock().unwrap().0
    }

    fn wanted_aux_file_policy(&self) -> Option<AuxFilePolicy> {
        *self.wanted_aux_file_policy.lock().unwrap()
    }

    async fn write(
        &self,
        batch: Vec<KeyedValue>,
        finished: &[Lsn],
        effects: BatchEffects,
    ) -> Result<(), KeyWriteError> {
        assert!(batch.is_sorted_by_key(|(_, lsn, _)| *lsn), "a batch ascends in LSN");
        let mut values = self.values.lock().unwrap();
        for (key, lsn, value) in batch {
            if let Value::Image(image) = &value {
                let data = key.is_rel_block();
                assert!(!data || image.len() == BLCKSZ, "{key} gets {} bytes", image.len());
            }
            values.insert((key, lsn), value);
        }
        let mut visible = self.visible.lock().unwrap();
        for lsn in finished {
            if *lsn > visible.0 {
                *visible = (*lsn, visible.0);
            }
        }
        self.logical_blocks.fetch_add(effects.added_blocks, Ordering::SeqCst);
        if effects.aux_file_policy.is_some() {
            *self.aux_file_policy.lock().unwrap() = effects.aux_file_policy;
        }
        Ok(())
    }
}
