//! What the backup needs beyond single reads: many keys at once.

use std::future::Future;

use bytes::Bytes;
use pageserver_api::Key;
use utils::Lsn;

use crate::keymap::{KeyReadError, KeyReader};

/// Keys that are read in one pass over the layers.
pub const BATCH_KEYS: usize = 32;

/// A [`KeyReader`] that can read many keys in one pass.
pub trait BackupReader: KeyReader {
    /// The values of `keys`, which ascend, in the same order. Every key must have a value.
    fn get_batch(
        &self,
        keys: &[Key],
        lsn: Lsn,
    ) -> impl Future<Output = Result<Vec<Bytes>, KeyReadError>> + Send {
        self.get_all(keys, lsn)
    }
}
