//! Compaction: keeps the number of layers a read must visit small.
//!
//! First L0 deltas, which each span the whole key space, are merged and cut along keys; then
//! images are made where many deltas are stacked. In that order, as an image reads through
//! every L0. One compaction at a time runs on a timeline; it reads layers like any reader and
//! changes the layer map in one step per stage.

mod images;
mod l0;
mod merge;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use layer_format::{LayerFileError, LayerFileMetadata, LayerName};
use pageserver_api::keyspace::KeySpace;
use utils::{Lsn, fs_ext};

use super::new_layer::NewLayer;
use super::{PageReconstructError, StorageOperation, Timeline};
use crate::context::RequestContext;
use crate::keymap::{Keymap, KeymapError};
use crate::layers::{Layer, LayerAccessError};
use crate::remote::{QueueError, WaitCompletionError};

/// What a compaction is to do beyond the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactFlags {
    /// Make images whether or not many deltas are stacked.
    pub force_image_layer_creation: bool,
    /// Return only when the result is in remote storage.
    pub wait_until_uploaded: bool,
}

/// A compaction failed. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// The timeline is shutting down.
    #[error("timeline is shutting down")]
    ShuttingDown,
    /// The keys could not be listed.
    #[error("could not compact, repartitioning keyspace failed: {0}")]
    Repartition(#[source] KeymapError),
    /// A layer could not be read.
    #[error("cannot read layer {layer}: {source}")]
    Input {
        /// The layer.
        layer: Box<LayerName>,
        /// Why.
        source: LayerAccessError,
    },
    /// A value could not be reconstructed for an image.
    #[error("cannot make an image: {0}")]
    Read(#[from] PageReconstructError),
    /// A layer could not be written.
    #[error(transparent)]
    Output(#[from] LayerFileError),
    /// The upload could not be scheduled.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The upload did not complete.
    #[error(transparent)]
    Upload(#[from] WaitCompletionError),
    /// A failpoint asked for it.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

impl CompactionError {
    /// Whether the compaction ended because the timeline goes away.
    pub fn is_cancelled(&self) -> bool {
        match self {
            CompactionError::ShuttingDown | CompactionError::Queue(_) => true,
            CompactionError::Input { source, .. } => matches!(source, LayerAccessError::Cancelled),
            CompactionError::Read(error) => error.is_cancelled(),
            CompactionError::Upload(_)
            | CompactionError::Repartition(_)
            | CompactionError::Output(_)
            | CompactionError::Failpoint(_) => false,
        }
    }
}

/// What compaction remembers from one run to the next.
#[derive(Default)]
pub(super) struct CompactionState {
    /// Where it was last looked whether images are due.
    images_checked_at: Option<Lsn>,
}

/// The timeline's keys, in parts of about the target size.
struct Partitioning {
    dense: Vec<KeySpace>,
    sparse: KeySpace,
}

impl Timeline {
    /// Compacts once. Waits for a compaction that is under way.
    pub async fn compact(
        self: &Arc<Self>,
        flags: CompactFlags,
        ctx: &RequestContext,
    ) -> Result<(), CompactionError> {
        let _guard = self.gate.enter().map_err(|_| CompactionError::ShuttingDown)?;
        let mut state = self.compaction.lock().await;
        if self.cancel.is_cancelled() {
            return Err(CompactionError::ShuttingDown);
        }
        let _timer = self.operations.start(StorageOperation::Compact);
        // Looking at everything must not make everything look used.
        let ctx = ctx.without_access_stats();
        self.compact_level0(&ctx).await?;
        self.create_image_layers(&mut state, flags, &ctx).await?;
        if flags.wait_until_uploaded {
            self.remote_client.wait_completion().await?;
        }
        Ok(())
    }

    /// Lists the timeline's keys. That reads the size of every relation, so it is not done unless
    /// there is something to do with them.
    async fn partition(
        self: &Arc<Self>,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Partitioning, CompactionError> {
        let keys = self.keys(*ctx);
        let listed = Keymap::at(&keys, lsn).collect_keyspace(self.pg_major).await;
        let listed = listed.map_err(CompactionError::Repartition)?;
        let target_bytes = self.tenant_conf.load().effective.compaction_target_size;
        let dense = listed.dense.partition(&self.shard_identity, target_bytes);
        Ok(Partitioning { dense, sparse: listed.sparse })
    }

    /// Makes the names of new files durable, before anything refers to them.
    async fn sync_directory(&self) -> Result<(), CompactionError> {
        let directory = self.layer_owner.directory.clone();
        let synced = tokio::task::spawn_blocking(move || {
            if let Err(error) = fs_ext::fsync_dir(directory.as_std_path()) {
                tracing::error!("cannot fsync {directory}: {error}; aborting");
                std::process::abort();
            }
        });
        synced.await.map_err(|_| CompactionError::ShuttingDown)
    }

    /// Replaces layers by new ones, in the map and in the index, in one critical section.
    pub(super) fn publish_compacted(
        &self,
        removed: &[LayerName],
        added: Vec<NewLayer>,
    ) -> Result<(), CompactionError> {
        let shard = self.tenant_shard_id.to_index();
        let (mut handles, mut uploads) = (Vec::new(), Vec::new());
        for new in &added {
            let metadata = LayerFileMetadata::new(new.size_bytes, self.generation, shard);
            let owner = Arc::clone(&self.layer_owner);
            let layer = Layer::created(owner, new.name.clone(), metadata.clone());
            uploads.push((new.name.clone(), metadata, layer.local_path().to_owned()));
            handles.push(layer);
        }
        let mut layers = self.layers_write();
        let garbage: Vec<Layer> =
            removed.iter().filter_map(|name| layers.layer(name).cloned()).collect();
        self.remote_client.schedule_compaction_update(removed, uploads)?;
        layers.replace(removed, handles);
        drop(layers);
        added.into_iter().for_each(NewLayer::published);
        // Only now that the index forgets them may their objects go.
        for layer in garbage {
            layer.delete_on_drop();
        }
        Ok(())
    }
}
