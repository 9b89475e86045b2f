//! The timeline as the key map sees it: reads of keys and atomic batches of writes, on behalf
//! of one task.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pageserver_api::models::AuxFilePolicy;
use pageserver_api::{Key, KeySpace};
use utils::Lsn;

use super::read::Values;
use super::{GetVectoredError, PageReconstructError, Timeline, WriteError};
use crate::context::RequestContext;
use crate::keymap::store::KeyedValue;
use crate::keymap::{BatchEffects, KeyReadError, KeyReader, KeyStore, KeyWriteError, RelSizeCache};

/// A timeline together with who works on it.
#[derive(Clone, Debug)]
pub struct TimelineKeys {
    timeline: Arc<Timeline>,
    ctx: RequestContext,
}

impl Timeline {
    /// The timeline as a store of keys, on behalf of `ctx`.
    pub fn keys(self: &Arc<Self>, ctx: RequestContext) -> TimelineKeys {
        TimelineKeys { timeline: Arc::clone(self), ctx }
    }
}

impl TimelineKeys {
    /// The timeline.
    pub fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }
}

/// The values of keys, of which each must have one.
fn in_order(keys: &[Key], lsn: Lsn, mut values: Values) -> Result<Vec<Bytes>, KeyReadError> {
    let value = |key: &Key| {
        let value = values.remove(key).ok_or(KeyReadError::Missing { key: *key, lsn })?;
        value.map_err(|error| read_error(*key, lsn, error))
    };
    keys.iter().map(value).collect()
}

fn vectored_error(key: Key, lsn: Lsn, error: GetVectoredError) -> KeyReadError {
    match error {
        GetVectoredError::Read(error) => read_error(key, lsn, error),
        error @ (GetVectoredError::Oversized { .. } | GetVectoredError::NotScannable { .. }) => {
            KeyReadError::Failed { key, lsn, source: Box::new(error) }
        }
    }
}

fn read_error(key: Key, lsn: Lsn, error: PageReconstructError) -> KeyReadError {
    if error.is_cancelled() {
        KeyReadError::Cancelled
    } else if error.is_missing_key() {
        KeyReadError::Missing { key, lsn }
    } else {
        KeyReadError::Failed { key, lsn, source: Box::new(error) }
    }
}

impl KeyReader for TimelineKeys {
    async fn get(&self, key: Key, lsn: Lsn) -> Result<Bytes, KeyReadError> {
        let value = self.timeline.get(key, lsn, &self.ctx).await;
        value.map_err(|error| read_error(key, lsn, error))
    }

    async fn get_all(&self, keys: &[Key], lsn: Lsn) -> Result<Vec<Bytes>, KeyReadError> {
        let Some(first) = keys.first().copied() else { return Ok(Vec::new()) };
        let keyspace = KeySpace::from_keys(keys.iter().copied());
        let read = self.timeline.read(keyspace, lsn, &self.ctx).await;
        in_order(keys, lsn, read.map_err(|error| read_error(first, lsn, error))?)
    }

    async fn scan(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<BTreeMap<Key, Bytes>, KeyReadError> {
        let key = range.start;
        let values = self.timeline.scan(range, lsn, &self.ctx).await;
        values.map_err(|error| vectored_error(key, lsn, error))
    }

    fn rel_size_cache(&self) -> &RelSizeCache {
        self.timeline.rel_size_cache()
    }

    fn aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.timeline.remote_client.aux_file_policy()
    }
}

impl KeyStore for TimelineKeys {
    fn last_record_lsn(&self) -> Lsn {
        self.timeline.last_record_lsn()
    }

    fn wanted_aux_file_policy(&self) -> Option<AuxFilePolicy> {
        self.timeline.tenant_conf.load().overrides.switch_aux_file_policy
    }

    async fn write(
        &self,
        batch: Vec<KeyedValue>,
        finished: &[Lsn],
        effects: BatchEffects,
    ) -> Result<(), KeyWriteError> {
        let values = batch.len();
        let lsn = batch.last().map_or(Lsn::INVALID, |(_, lsn, _)| *lsn);
        let mut writer = self.timeline.writer().await;
        match writer.put_batch(batch, &self.ctx).await {
            Ok(()) => {}
            Err(WriteError::Cancelled) => return Err(KeyWriteError::Cancelled),
            Err(error @ (WriteError::OpenLayer { .. } | WriteError::Backwards { .. })) => {
                return Err(KeyWriteError::Failed { values, lsn, source: Box::new(error) });
            }
        }
        for lsn in finished {
            writer.finish_write(*lsn);
        }
        // Still as the writer: a freeze takes the size of exactly what was written before it.
        self.timeline.logical_size().add_blocks(effects.added_blocks);
        self.timeline.directory_counts().update(&effects.directory_entries);
        if let Some(policy) = effects.aux_file_policy {
            // A queue that takes nothing any more is that of a timeline that ends: the next one
            // ingests the file again.
            let _ = self.timeline.remote_client.record_aux_file_policy(policy);
        }
        Ok(())
    }
}
