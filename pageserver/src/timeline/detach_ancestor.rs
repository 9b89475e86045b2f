//! Making a branch independent: all that it reads of its ancestor becomes its own.
//!
//! Layers that end at or below the branch point are copied within the store. Those that go on
//! above it are written anew, up to it. The ancestor is only read; its layers are held meanwhile,
//! so that nothing that compaction replaces goes away.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures::{StreamExt, TryStreamExt, stream};
use layer_format::{
    DeltaEntry, DeltaLayerWriter, LayerFileError, LayerFileMetadata, LayerName, PlannedBlob,
};
use pageserver_api::Key;
use remote_storage::RemoteStorageError;
use tokio_util::sync::CancellationToken;
use utils::{Generation, Lsn, TenantId, TimelineId, fs_ext};

use super::new_layer::NewLayer;
use super::{FlushError, Timeline, WaitLsnError};
use crate::context::RequestContext;
use crate::layers::{AccessKind, Layer, LayerAccessError, ResidentLayer};
use crate::remote::WaitCompletionError;

/// Bytes of values read at once.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// How much is done at a time.
#[derive(Clone, Copy, Debug)]
pub struct DetachLimits {
    /// Layers written anew.
    pub rewrites: NonZeroUsize,
    /// Layers copied within the store.
    pub copies: NonZeroUsize,
}

/// A timeline cannot be detached from its ancestor. Nothing has changed, unless the store says
/// so of the index.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// It has none.
    #[error("no ancestors")]
    NoAncestor,
    /// The ancestor is a branch itself: it has to be detached first.
    #[error("too many ancestors")]
    TooManyAncestors,
    /// The timeline, or its ancestor, is shutting down.
    #[error("shutting down, please retry later")]
    ShuttingDown,
    /// The ancestor does not have the branch point yet, as after a restart.
    #[error("the ancestor has not reached the branch point: {0}")]
    BranchPoint(WaitLsnError),
    /// What the ancestor has in memory could not be written.
    #[error("flushing the ancestor failed: {0}")]
    Flush(FlushError),
    /// The ancestor's layers could not be stored, or the changed index could not.
    #[error("waiting for uploads failed: {0}")]
    Upload(WaitCompletionError),
    /// A layer of the ancestor could not be read.
    #[error("cannot read layer {layer} of the ancestor: {source}")]
    Read {
        /// The layer.
        layer: Box<LayerName>,
        /// Why.
        source: LayerAccessError,
    },
    /// The part of a layer that belongs to the branch could not be written.
    #[error("cannot write the branch's part of layer {layer}: {source}")]
    Write {
        /// The layer.
        layer: Box<LayerName>,
        /// Why.
        source: LayerFileError,
    },
    /// A layer could not be stored.
    #[error("cannot store a copy of layer {layer}: {source}")]
    Store {
        /// The layer.
        layer: Box<LayerName>,
        /// Why.
        source: RemoteStorageError,
    },
    /// A failpoint asked for it.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

/// What a branch reads of a layer of its ancestor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Nothing,
    /// Values up to the branch point.
    Prefix,
    Everything,
}

/// What of a layer lies at or below the branch point.
fn share(name: &LayerName, branch_point: Lsn) -> Share {
    let lsns = name.lsn_range();
    if lsns.start > branch_point {
        Share::Nothing
    } else if lsns.end > branch_point + 1 {
        Share::Prefix
    } else {
        Share::Everything
    }
}

/// Stored copies of all that a branch reads of its ancestor. The local files among them go away
/// with this.
pub struct InheritedLayers {
    layers: Vec<(LayerName, LayerFileMetadata)>,
    rewritten: Vec<NewLayer>,
}

impl Timeline {
    /// The ancestor and the branch point, if a detachment makes sense.
    pub fn detachable_from(&self) -> Result<(Arc<Timeline>, Lsn), DetachError> {
        let (ancestor, branch_point) = self.ancestor().ok_or(DetachError::NoAncestor)?;
        match ancestor.ancestor() {
            None => Ok((ancestor, branch_point)),
            Some(_) => Err(DetachError::TooManyAncestors),
        }
    }

    /// Stores copies of all that the timeline reads of its ancestor. No index names them yet.
    pub async fn copy_inherited_layers(
        &self,
        limits: DetachLimits,
        ctx: &RequestContext,
    ) -> Result<InheritedLayers, DetachError> {
        let (ancestor, branch_point) = self.detachable_from()?;
        // Looking at everything must not make everything look used.
        let ctx = ctx.without_access_stats();
        ancestor.make_durable(branch_point, &ctx).await?;
        // Held until all is copied: a layer that is replaced meanwhile stays that long.
        let layers = ancestor.layers();
        let uploaded = ancestor.remote_client.wait_completion().await;
        uploaded.map_err(|failure| ancestor.unless_cancelled(DetachError::Upload(failure)))?;
        let of_share = |wanted| {
            let matching = layers.iter().filter(move |l| share(l.name(), branch_point) == wanted);
            matching.cloned().collect::<Vec<_>>()
        };
        let (straddling, whole) = (of_share(Share::Prefix), of_share(Share::Everything));
        tracing::info!(
            "copying {} layers of the ancestor and writing {} anew, up to {branch_point}",
            whole.len(),
            straddling.len()
        );
        let rewrites = straddling.into_iter().map(|layer| self.rewrite(layer, branch_point, &ctx));
        let rewritten: Vec<_> = stream::iter(rewrites)
            .buffer_unordered(limits.rewrites.get())
            .try_filter_map(|rewritten| std::future::ready(Ok(rewritten)))
            .try_collect()
            .await?;
        self.sync_names().await?;
        let copies = whole.into_iter().map(|layer| self.copy(&ancestor, layer));
        let mut copied: Vec<_> =
            stream::iter(copies).buffer_unordered(limits.copies.get()).try_collect().await?;
        let (rewritten, stored): (Vec<_>, Vec<_>) = rewritten.into_iter().unzip();
        copied.extend(stored);
        Ok(InheritedLayers { layers: copied, rewritten })
    }

    /// Lets the index name the copies, and no ancestor. Returns when that is durable. The timeline
    /// itself goes on as it is: it has to be loaded anew.
    pub async fn adopt(&self, inherited: InheritedLayers) -> Result<(), DetachError> {
        let (ancestor, branch_point) = self.detachable_from()?;
        let InheritedLayers { layers, rewritten } = inherited;
        let branch_point = (ancestor.timeline_id, branch_point);
        let stored = self.remote_client.detach_from_ancestor(layers, branch_point).await;
        stored.map_err(|failure| self.unless_cancelled(DetachError::Upload(failure)))?;
        rewritten.into_iter().for_each(NewLayer::published);
        Ok(())
    }

    /// Brings everything up to `lsn` into layer files.
    async fn make_durable(
        self: &Arc<Self>,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<(), DetachError> {
        let waited = self.wait_lsn(lsn, ctx).await;
        waited.map_err(|failure| self.unless_cancelled(DetachError::BranchPoint(failure)))?;
        if self.disk_consistent_lsn() >= lsn {
            return Ok(());
        }
        let flushed = self.freeze_and_flush().await;
        flushed.map_err(|failure| self.unless_cancelled(DetachError::Flush(failure)))
    }

    fn unless_cancelled(&self, error: DetachError) -> DetachError {
        if self.cancel.is_cancelled() { DetachError::ShuttingDown } else { error }
    }

    /// Copies a layer of the ancestor within the store.
    async fn copy(
        &self,
        ancestor: &Timeline,
        layer: Layer,
    ) -> Result<(LayerName, LayerFileMetadata), DetachError> {
        let (name, metadata) = (layer.name(), layer.metadata());
        let source = ancestor.timeline_id;
        let copied = self.remote_client.copy_layer_from(source, name, metadata, &self.cancel).await;
        let copied = copied.map_err(|source| self.unless_cancelled(store_error(name, source)))?;
        Ok((name.clone(), copied))
    }

    /// Writes the part of a layer up to the branch point, and stores it. `None` if the layer has
    /// nothing there.
    async fn rewrite(
        &self,
        layer: Layer,
        branch_point: Lsn,
        ctx: &RequestContext,
    ) -> Result<Option<(NewLayer, (LayerName, LayerFileMetadata))>, DetachError> {
        let read = layer.get_for(AccessKind::Iter, ctx).await;
        let resident = read.map_err(|source| self.unless_cancelled(read_error(&layer, source)))?;
        let prefix = Prefix {
            directory: self.layer_owner.directory.clone(),
            tenant_id: self.tenant_shard_id.tenant_id,
            timeline_id: self.timeline_id,
            generation: self.generation,
            branch_point,
            cancel: self.cancel.clone(),
        };
        let written = tokio::task::spawn_blocking(move || prefix.write(&resident));
        let written = written.await.map_err(|_| DetachError::ShuttingDown)??;
        let Some((new, path)) = written else { return Ok(None) };
        let client = &self.remote_client;
        let stored =
            client.upload_unlisted_layer(&new.name, new.size_bytes, &path, &self.cancel).await;
        let stored =
            stored.map_err(|source| self.unless_cancelled(store_error(&new.name, source)))?;
        let named = (new.name.clone(), stored);
        Ok(Some((new, named)))
    }

    /// Makes the names of new files durable.
    async fn sync_names(&self) -> Result<(), DetachError> {
        let directory = self.layer_owner.directory.clone();
        let synced = tokio::task::spawn_blocking(move || {
            if let Err(error) = fs_ext::fsync_dir(directory.as_std_path()) {
                // Files that vanish are downloaded again.
                tracing::warn!("cannot fsync {directory}: {error}");
            }
        });
        synced.await.map_err(|_| DetachError::ShuttingDown)
    }
}

fn read_error(layer: &Layer, source: LayerAccessError) -> DetachError {
    DetachError::Read { layer: Box::new(layer.name().clone()), source }
}

fn store_error(name: &LayerName, source: RemoteStorageError) -> DetachError {
    DetachError::Store { layer: Box::new(name.clone()), source }
}

/// Where the beginning of a layer is written to.
struct Prefix {
    directory: Utf8PathBuf,
    tenant_id: TenantId,
    timeline_id: TimelineId,
    generation: Generation,
    branch_point: Lsn,
    cancel: CancellationToken,
}

impl Prefix {
    /// Writes the values up to the branch point to a layer of the same keys. Blocks.
    fn write(&self, layer: &ResidentLayer) -> Result<Option<(NewLayer, Utf8PathBuf)>, DetachError> {
        let name = layer.layer().name();
        let read_failed = |source| read_error(layer.layer(), source);
        let write_failed = |source| DetachError::Write { layer: Box::new(name.clone()), source };
        let mut entries = layer.delta_entries_blocking().map_err(read_failed)?;
        entries.retain(|entry| entry.meta.lsn <= self.branch_point);
        if entries.is_empty() {
            return Ok(None);
        }
        let (keys, lsns) = (name.key_range(), name.lsn_range().start..self.branch_point + 1);
        let (tenant, timeline) = (self.tenant_id, self.timeline_id);
        let mut writer =
            DeltaLayerWriter::create(&self.directory, tenant, timeline, keys.start, lsns)
                .map_err(write_failed)?;
        for batch in batches(entries) {
            if self.cancel.is_cancelled() {
                return Err(DetachError::ShuttingDown);
            }
            let mut values: BTreeMap<(Key, Lsn), Bytes> = BTreeMap::new();
            layer
                .read_delta_blocking(batch, |entry, value| {
                    values.insert((entry.key, entry.lsn), value);
                })
                .map_err(read_failed)?;
            for ((key, lsn), value) in values {
                writer.put(key, lsn, &value).map_err(write_failed)?;
            }
        }
        let (name, path, size) = writer.finish(keys.end, self.generation).map_err(write_failed)?;
        Ok(Some((NewLayer::new((name, path.clone(), size)), path)))
    }
}

/// Cuts entries, which are in order, into parts that are read at once.
fn batches(entries: Vec<PlannedBlob<DeltaEntry>>) -> Vec<Vec<PlannedBlob<DeltaEntry>>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut room_bytes = 0;
    for entry in entries {
        let bytes = entry.range.end - entry.range.start;
        match batches.last_mut() {
            Some(batch) if bytes <= room_bytes => {
                room_bytes -= bytes;
                batch.push(entry);
            }
            Some(_) | None => {
                room_bytes = BATCH_BYTES.saturating_sub(bytes);
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests;
