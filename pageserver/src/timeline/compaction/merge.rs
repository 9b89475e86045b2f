//! Merging deltas: all values of the inputs in order of key and LSN, cut into files.
//!
//! Blocking. Indexes are held in memory, values only a batch at a time. A file ends where the
//! next key would make it too large; the versions of one key stay together unless they alone
//! are too large, and are then cut along LSNs into files of that key only.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use camino::Utf8PathBuf;
use layer_format::{DeltaEntry, DeltaLayerWriter, PlannedBlob};
use pageserver_api::Key;
use pageserver_api::shard::ShardIdentity;
use tokio_util::sync::CancellationToken;
use utils::{Generation, Lsn, TenantId, TimelineId};

use super::CompactionError;
use super::NewLayer;
use crate::layers::ResidentLayer;

/// Bytes of values read ahead.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// What is to be made of the inputs.
pub(super) struct MergeConfig {
    pub(super) directory: Utf8PathBuf,
    pub(super) tenant_id: TenantId,
    pub(super) timeline_id: TimelineId,
    pub(super) generation: Generation,
    pub(super) shard_identity: ShardIdentity,
    /// LSNs of the inputs together.
    pub(super) lsn_range: Range<Lsn>,
    /// Size a file should have.
    pub(super) target_bytes: u64,
    pub(super) cancel: CancellationToken,
}

/// A value of an input.
struct Source {
    input: usize,
    blob: PlannedBlob<DeltaEntry>,
}

impl Source {
    fn bytes(&self) -> u64 {
        self.blob.range.end - self.blob.range.start
    }
}

/// Merges the inputs into new files.
pub(super) fn merge_deltas(
    config: &MergeConfig,
    inputs: Vec<ResidentLayer>,
) -> Result<Vec<NewLayer>, CompactionError> {
    let sources = collect(config, &inputs)?;
    let mut outputs = Outputs { config, open: None, finished: Vec::new() };
    let mut batches = Batches { inputs: &inputs, values: BTreeMap::new() };
    let mut rest = sources.as_slice();
    while let Some(first) = rest.first() {
        if config.cancel.is_cancelled() {
            return Err(CompactionError::ShuttingDown);
        }
        let key = first.blob.meta.key;
        let count = rest.partition_point(|source| source.blob.meta.key == key);
        let (versions, after) = rest.split_at(count);
        let total: u64 = versions.iter().map(Source::bytes).sum();
        if total > config.target_bytes {
            outputs.close()?;
            write_large_key(config, &mut outputs, &mut batches, key, versions)?;
        } else {
            outputs.make_room(total)?;
            for (at, source) in versions.iter().enumerate() {
                let value = batches.value(source, rest.get(at..).unwrap_or_default())?;
                outputs.put(key, source.blob.meta.lsn, &value, key, config.lsn_range.clone())?;
            }
        }
        rest = after;
    }
    outputs.close()?;
    Ok(outputs.finished)
}

/// Everything the inputs hold, in order, without what other shards own.
fn collect(config: &MergeConfig, inputs: &[ResidentLayer]) -> Result<Vec<Source>, CompactionError> {
    let mut sources = Vec::new();
    for (input, layer) in inputs.iter().enumerate() {
        let entries = layer.delta_entries_blocking().map_err(|e| input_error(layer, e))?;
        let wanted = entries
            .into_iter()
            .filter(|blob| !config.shard_identity.is_key_disposable(&blob.meta.key));
        sources.extend(wanted.map(|blob| Source { input, blob }));
    }
    sources.sort_by_key(|source| (source.blob.meta.key, source.blob.meta.lsn));
    Ok(sources)
}

/// Cuts the versions of one key along LSNs. The first file begins with the first value, each
/// next one where the one before ends, and the last ends with the run.
fn write_large_key(
    config: &MergeConfig,
    outputs: &mut Outputs<'_>,
    batches: &mut Batches<'_>,
    key: Key,
    versions: &[Source],
) -> Result<(), CompactionError> {
    let mut start_lsn = versions.first().map_or(config.lsn_range.start, |v| v.blob.meta.lsn);
    let mut rest = versions;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|source| {
                let first = bytes == 0;
                bytes += source.bytes();
                first || bytes <= config.target_bytes
            })
            .count();
        let (segment, after) = rest.split_at(count);
        let end_lsn = after.first().map_or(config.lsn_range.end, |next| next.blob.meta.lsn);
        for (at, source) in segment.iter().enumerate() {
            let value = batches.value(source, rest.get(at..).unwrap_or_default())?;
            outputs.put(key, source.blob.meta.lsn, &value, key, start_lsn..end_lsn)?;
        }
        outputs.close()?;
        (start_lsn, rest) = (end_lsn, after);
    }
    Ok(())
}

/// Reads values in batches, ahead of their use.
struct Batches<'a> {
    inputs: &'a [ResidentLayer],
    values: BTreeMap<(Key, Lsn), Bytes>,
}

impl Batches<'_> {
    /// The value of `source`, which is the first of `upcoming`.
    fn value(&mut self, source: &Source, upcoming: &[Source]) -> Result<Bytes, CompactionError> {
        let at = (source.blob.meta.key, source.blob.meta.lsn);
        if !self.values.contains_key(&at) {
            self.fill(upcoming)?;
        }
        // Every planned value was handed over, or the read would have failed.
        self.values.remove(&at).ok_or(CompactionError::ShuttingDown)
    }

    fn fill(&mut self, upcoming: &[Source]) -> Result<(), CompactionError> {
        let mut plans: BTreeMap<usize, Vec<PlannedBlob<DeltaEntry>>> = BTreeMap::new();
        let mut bytes = 0;
        for source in upcoming {
            if bytes > 0 && bytes + source.bytes() > BATCH_BYTES {
                break;
            }
            bytes += source.bytes();
            plans.entry(source.input).or_default().push(source.blob.clone());
        }
        for (input, plan) in plans {
            let Some(layer) = self.inputs.get(input) else { continue };
            let values = &mut self.values;
            layer
                .read_delta_blocking(plan, |entry, value| {
                    values.insert((entry.key, entry.lsn), value);
                })
                .map_err(|error| input_error(layer, error))?;
        }
        Ok(())
    }
}

/// The file being written, and those that are finished.
struct Outputs<'a> {
    config: &'a MergeConfig,
    open: Option<DeltaLayerWriter>,
    finished: Vec<NewLayer>,
}

impl Outputs<'_> {
    /// Ends the open file if `bytes` more would make it too large.
    fn make_room(&mut self, bytes: u64) -> Result<(), CompactionError> {
        let full = self
            .open
            .as_ref()
            .is_some_and(|open| open.size_bytes() + bytes > self.config.target_bytes);
        if full { self.close() } else { Ok(()) }
    }

    fn put(
        &mut self,
        key: Key,
        lsn: Lsn,
        value: &[u8],
        key_start: Key,
        lsn_range: Range<Lsn>,
    ) -> Result<(), CompactionError> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => DeltaLayerWriter::create(
                &self.config.directory,
                self.config.tenant_id,
                self.config.timeline_id,
                key_start,
                lsn_range,
            )?,
        };
        writer.put(key, lsn, value)?;
        self.open = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<(), CompactionError> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let Some(last) = writer.last_key() else { return Ok(()) };
        fail::fail_point!("delta-layer-writer-fail-before-finish", |_| {
            Err(CompactionError::Failpoint("delta-layer-writer-fail-before-finish"))
        });
        let new = NewLayer::new(writer.finish(last.next(), self.config.generation)?);
        let size_bytes = new.size_bytes;
        let bound = 2 * self.config.target_bytes + 16384;
        if size_bytes > bound {
            tracing::warn!(
                "created delta file of size {size_bytes} larger than double of target of {}",
                self.config.target_bytes
            );
        }
        self.finished.push(new);
        fail::fail_point!("after-timeline-compacted-first-L1");
        Ok(())
    }
}

fn input_error(layer: &ResidentLayer, source: crate::layers::LayerAccessError) -> CompactionError {
    CompactionError::Input { layer: Box::new(layer.layer().name().clone()), source }
}
