//! What a read gathers on its way down: for each key, the records to apply and the image to
//! apply them to.
//!
//! Layers are visited newest first, so values arrive in descending order of LSN. A key is done
//! once a value came that needs nothing older.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use layer_format::LayerFileError;
use pageserver_api::keyspace::{KeySpace, KeySpaceRandomAccum};
use pageserver_api::{Key, Value, WalRecord};
use utils::Lsn;

/// Values gathered for one key.
#[derive(Debug, Default)]
pub struct KeyState {
    /// Records, newest first.
    pub records: Vec<(Lsn, WalRecord)>,
    /// The image below them.
    pub image: Option<(Lsn, Bytes)>,
    done: bool,
}

impl KeyState {
    /// Whether nothing older is needed.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the next older value. Ignored once the key is done.
    pub fn push(&mut self, lsn: Lsn, value: Value) {
        if self.done {
            return;
        }
        self.done = value.will_init();
        match value {
            Value::Image(image) => self.image = Some((lsn, image)),
            Value::WalRecord(record) => self.records.push((lsn, record)),
        }
    }
}

/// Why a value could not be gathered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ValueError {
    /// The layer file could not be read.
    #[error(transparent)]
    File(Arc<LayerFileError>),
    /// The bytes of a value are not a value.
    #[error("stored value of {key} at {lsn} is corrupt: {reason}")]
    Corrupt {
        /// Whose value.
        key: Key,
        /// Which version.
        lsn: Lsn,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of an open layer could not be read.
    #[error("cannot read in-memory layer: {0}")]
    Ephemeral(Arc<std::io::Error>),
}

/// Values gathered for all keys of a read.
#[derive(Debug, Default)]
pub struct ReconstructState {
    keys: BTreeMap<Key, Result<KeyState, ValueError>>,
    newly_done: KeySpaceRandomAccum,
    /// Up to here keys that branches do not inherit have no values.
    not_inherited_up_to: Lsn,
    /// Layers visited so far, summed over keys only by the caller.
    pub layers_visited: u64,
}

impl ReconstructState {
    /// Starts with nothing gathered.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, for a timeline whose layers up to `lsn` were an ancestor's: what a branch does not
    /// inherit does not count there.
    pub fn not_inheriting_up_to(lsn: Lsn) -> Self {
        ReconstructState { not_inherited_up_to: lsn, ..Self::default() }
    }

    /// Whether more values of `key` are of use.
    pub fn wants(&self, key: &Key) -> bool {
        match self.keys.get(key) {
            None => true,
            Some(Ok(state)) => !state.is_done(),
            Some(Err(_)) => false,
        }
    }

    /// Takes the next older value of a key.
    pub fn push(&mut self, key: Key, lsn: Lsn, value: Value) {
        if lsn <= self.not_inherited_up_to && !key.is_inherited() {
            return;
        }
        let state = self.keys.entry(key).or_insert_with(|| Ok(KeyState::default()));
        if let Ok(state) = state
            && !state.is_done()
        {
            state.push(lsn, value);
            if state.is_done() {
                self.newly_done.add_key(key);
            }
        }
    }

    /// Takes the next older value of a key in its serialised form.
    pub fn push_bytes(&mut self, key: Key, lsn: Lsn, bytes: &Bytes) {
        match Value::decode(bytes) {
            Ok(value) => self.push(key, lsn, value),
            Err(error) => {
                let reason = error.to_string();
                self.fail(key, ValueError::Corrupt { key, lsn, reason });
            }
        }
    }

    /// Gives a key up.
    pub fn fail(&mut self, key: Key, error: ValueError) {
        if self.wants(&key) {
            self.newly_done.add_key(key);
            self.keys.insert(key, Err(error));
        }
    }

    /// The keys that were finished since the last call.
    pub fn take_newly_done(&mut self) -> KeySpace {
        std::mem::take(&mut self.newly_done).into_keyspace()
    }

    /// Everything gathered.
    pub fn into_keys(self) -> BTreeMap<Key, Result<KeyState, ValueError>> {
        self.keys
    }
}

#[cfg(test)]
mod tests;
