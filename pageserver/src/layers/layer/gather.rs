//! Reading a layer file for a set of keys.

use std::ops::Range;

use layer_format::{DeltaEntry, LayerName, PlannedBlob};
use pageserver_api::Value;
use pageserver_api::keyspace::KeySpace;
use utils::Lsn;

use super::file::Reader;
use super::{LayerAccessError, ResidentLayer};
use crate::layers::reconstruct::{ReconstructState, ValueError};
use crate::storage_io::with_task_kind;

/// A layer could not be read at all. Failures of single values are recorded with their keys.
#[derive(Clone, Debug, thiserror::Error)]
#[error("get_values_reconstruct_data for layer {layer}: {source}")]
pub struct GatherError {
    /// The layer.
    pub layer: LayerName,
    /// Why.
    pub source: LayerAccessError,
}

impl ResidentLayer {
    /// Gathers values of the wanted keys with LSNs in `lsns`, newest first. Reads on the
    /// blocking pool; `state` travels there and back.
    pub async fn gather(
        &self,
        keys: KeySpace,
        lsns: Range<Lsn>,
        mut state: ReconstructState,
    ) -> Result<ReconstructState, GatherError> {
        let resident = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let gather = || resident.gather_blocking(&keys, &lsns, &mut state);
            with_task_kind(resident.task, gather).map(|()| state)
        });
        // The pool refuses work only when the process ends.
        let read = read.await.unwrap_or(Err(LayerAccessError::Cancelled));
        read.map_err(|source| GatherError { layer: self.layer.name().clone(), source })
    }

    /// What a delta layer holds, in order; nothing for an image layer. Blocks.
    pub fn delta_entries_blocking(&self) -> Result<Vec<PlannedBlob<DeltaEntry>>, LayerAccessError> {
        with_task_kind(self.task, || match self.file.reader(&self.layer.inner)? {
            Reader::Image(_) => Ok(Vec::new()),
            Reader::Delta(reader) => reader.entries().map_err(load_error),
        })
    }

    /// Reads serialised values of a delta layer. Blocks; the first failure ends it.
    pub fn read_delta_blocking(
        &self,
        plan: Vec<PlannedBlob<DeltaEntry>>,
        mut sink: impl FnMut(DeltaEntry, bytes::Bytes),
    ) -> Result<(), LayerAccessError> {
        let Reader::Delta(reader) = self.file.reader(&self.layer.inner)? else { return Ok(()) };
        let mut failure = None;
        reader.read(plan, self.layer.inner.owner.max_read_bytes, |entry, value| match value {
            Ok(value) => sink(entry, value),
            Err(error) => failure = Some(error),
        });
        failure.map_or(Ok(()), |error| Err(LayerAccessError::Corrupt(error)))
    }

    fn gather_blocking(
        &self,
        keys: &KeySpace,
        lsns: &Range<Lsn>,
        state: &mut ReconstructState,
    ) -> Result<(), LayerAccessError> {
        let max_read_bytes = self.layer.inner.owner.max_read_bytes;
        match self.file.reader(&self.layer.inner)? {
            Reader::Delta(reader) => {
                let mut plan = reader.plan(&keys.ranges, lsns).map_err(load_error)?;
                plan.retain(|entry| state.wants(&entry.meta.key));
                // Reads come in file order, oldest first per key; the state wants the reverse.
                let mut values = Vec::with_capacity(plan.len());
                reader.read(plan, max_read_bytes, |entry, value| values.push((entry, value)));
                for (entry, value) in values.into_iter().rev() {
                    match value {
                        Ok(bytes) => state.push_bytes(entry.key, entry.lsn, &bytes),
                        Err(error) => state.fail(entry.key, ValueError::File(error)),
                    }
                }
            }
            Reader::Image(reader) => {
                let lsn = self.layer.name().lsn_range().start;
                if !lsns.contains(&lsn) {
                    return Ok(());
                }
                let mut plan = reader.plan(&keys.ranges).map_err(load_error)?;
                plan.retain(|entry| state.wants(&entry.meta));
                reader.read(plan, max_read_bytes, |key, value| match value {
                    Ok(image) => state.push(key, lsn, Value::Image(image)),
                    Err(error) => state.fail(key, ValueError::File(error)),
                });
            }
        }
        Ok(())
    }
}

/// An index that cannot be read makes the file useless.
fn load_error(error: layer_format::LayerFileError) -> LayerAccessError {
    LayerAccessError::Corrupt(std::sync::Arc::new(error))
}
