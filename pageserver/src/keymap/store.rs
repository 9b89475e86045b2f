//! What the key map needs from the engine below it: reads of one key or a sparse range, and
//! atomic batches of writes.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, Value};
use utils::Lsn;

use super::directory_counts::DirectoryKind;
use super::rel_size_cache::RelSizeCache;

/// Why a key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyReadError {
    /// No value of the key is visible at the LSN.
    #[error("could not find data for key {key} at LSN {lsn}")]
    Missing {
        /// The key.
        key: Key,
        /// The LSN.
        lsn: Lsn,
    },
    /// The timeline is shutting down.
    #[error("the read was cancelled because the timeline is shutting down")]
    Cancelled,
    /// A value is pending that only the redo engine could make an image of.
    #[error("unexpected pending WAL record for key {0}: commit before reading it back")]
    PendingRecord(Key),
    /// The engine failed.
    #[error("reading key {key} at LSN {lsn}")]
    Failed {
        /// The key, or the start of the range.
        key: Key,
        /// The LSN.
        lsn: Lsn,
        /// The engine's reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why a batch could not be written.
#[derive(Debug, thiserror::Error)]
pub enum KeyWriteError {
    /// The timeline is shutting down.
    #[error("the write was cancelled because the timeline is shutting down")]
    Cancelled,
    /// The engine failed.
    #[error("writing a batch of {values} values up to LSN {lsn}")]
    Failed {
        /// Values in the batch.
        values: usize,
        /// LSN of the last of them.
        lsn: Lsn,
        /// The engine's reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// One value to be written.
pub type KeyedValue = (Key, Lsn, Value);

/// What a batch changes beside its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchEffects {
    /// Change of the sum of relation sizes, in blocks.
    pub added_blocks: i64,
    /// Entries of the directories that were written.
    pub directory_entries: BTreeMap<DirectoryKind, u64>,
    /// How auxiliary files were stored, if any was written.
    pub aux_file_policy: Option<AuxFilePolicy>,
}

/// Reads keys as of an LSN.
pub trait KeyReader: Sync {
    /// The value of a key, reconstructed if need be.
    fn get(&self, key: Key, lsn: Lsn) -> impl Future<Output = Result<Bytes, KeyReadError>> + Send;

    /// The values of ascending keys, each of which must have one; in one pass if the engine can. All
    /// of them are held in memory, so of pages only a few are asked for at once.
    fn get_all(
        &self,
        keys: &[Key],
        lsn: Lsn,
    ) -> impl Future<Output = Result<Vec<Bytes>, KeyReadError>> + Send {
        async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(*key, lsn).await?);
            }
            Ok(values)
        }
    }

    /// Every key of a sparse range that has a value.
    fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> impl Future<Output = Result<BTreeMap<Key, Bytes>, KeyReadError>> + Send;

    /// Relation sizes known without reading.
    fn rel_size_cache(&self) -> &RelSizeCache;

    /// How auxiliary files are stored; `None` if nobody has written that down.
    fn aux_file_policy(&self) -> Option<AuxFilePolicy>;
}

/// A timeline that can be written to. There is one writer at a time.
pub trait KeyStore: KeyReader {
    /// The end of the last record whose effects are visible.
    fn last_record_lsn(&self) -> Lsn;

    /// How auxiliary files are to be stored from now on, if that was asked for.
    fn wanted_aux_file_policy(&self) -> Option<AuxFilePolicy>;

    /// Stores the values, which ascend in LSN, then makes every LSN of `finished` visible in
    /// turn. LSNs that are not beyond the last visible one are without effect. `effects` go with
    /// it.
    fn write(
        &self,
        batch: Vec<KeyedValue>,
        finished: &[Lsn],
        effects: BatchEffects,
    ) -> impl Future<Output = Result<(), KeyWriteError>> + Send;
}
