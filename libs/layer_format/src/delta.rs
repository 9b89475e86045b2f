//! Delta layers: serialised values, sorted by key and LSN.
//!
//! Format: docs/formats/layer-files.md.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod reader;
mod writer;

pub use reader::{DeltaEntry, DeltaLayerReader};
pub use writer::{DeltaLayerWriter, MAX_DELTA_FILE_SIZE};

use pageserver_api::Key;
use utils::Lsn;

/// Bytes of an index key: the key, then the LSN.
const INDEX_KEY_SIZE: usize = 26;

fn index_key(key: &Key, lsn: Lsn) -> [u8; INDEX_KEY_SIZE] {
    let mut bytes = [0; INDEX_KEY_SIZE];
    let parts = key.to_bytes().into_iter().chain(lsn.0.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}

fn split_index_key(bytes: &[u8; INDEX_KEY_SIZE]) -> (Key, Lsn) {
    let key = bytes.first_chunk().map(Key::from_bytes).unwrap_or(Key::MIN);
    let lsn = bytes.last_chunk().copied().map(u64::from_be_bytes).unwrap_or_default();
    (key, Lsn(lsn))
}

#[cfg(test)]
mod tests;
