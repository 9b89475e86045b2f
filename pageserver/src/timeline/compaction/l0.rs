//! The first stage: a run of L0 deltas becomes deltas of key ranges.

use std::sync::Arc;

use layer_format::LayerName;
use utils::Lsn;

use super::merge::{MergeConfig, merge_deltas};
use super::{CompactionError, Timeline};
use crate::context::RequestContext;
use crate::layers::{AccessKind, Layer, ResidentLayer};

impl Timeline {
    /// Merges the oldest contiguous L0 deltas if there are enough.
    pub(in crate::timeline) async fn compact_level0(
        self: &Arc<Self>,
        ctx: &RequestContext,
    ) -> Result<(), CompactionError> {
        let conf = self.tenant_conf.load();
        let Some(run) = self.l0_run(conf.effective.compaction_threshold) else { return Ok(()) };
        let mut inputs = Vec::with_capacity(run.len());
        for layer in &run {
            inputs.push(self.hold(layer, ctx).await?);
        }
        let removed: Vec<LayerName> = run.iter().map(|layer| layer.name().clone()).collect();
        let merge = MergeConfig {
            directory: self.layer_owner.directory.clone(),
            tenant_id: self.tenant_shard_id.tenant_id,
            timeline_id: self.timeline_id,
            generation: self.generation,
            shard_identity: self.shard_identity,
            lsn_range: run_range(&removed),
            target_bytes: conf.effective.checkpoint_distance,
            cancel: self.cancel.clone(),
        };
        let merged = tokio::task::spawn_blocking(move || merge_deltas(&merge, inputs));
        let outputs = merged.await.map_err(|_| CompactionError::ShuttingDown)??;
        self.sync_directory().await?;
        {
            let layers = self.layers_read();
            if let Some(twin) = outputs.iter().find(|new| layers.layer(&new.name).is_some()) {
                // Possible after a crash between upload and index; the old layers stay.
                tracing::error!("duplicated L1 layer {}", twin.name);
                return Ok(());
            }
        }
        tracing::info!("compacted {} L0 layers into {} L1 layers", removed.len(), outputs.len());
        self.publish_compacted(&removed, outputs)
    }

    /// The oldest L0 deltas that follow each other without a gap; `None` when there are too
    /// few L0 deltas altogether.
    fn l0_run(&self, threshold: usize) -> Option<Vec<Layer>> {
        let layers = self.layers_read();
        let names: Vec<_> = layers.map().l0_deltas().collect();
        if names.is_empty() || names.len() < threshold {
            return None;
        }
        let mut run: Vec<Layer> = Vec::new();
        for name in names {
            let follows =
                run.last().is_none_or(|last| last.name().lsn_range().end == name.lsn_range().start);
            if !follows {
                break;
            }
            run.push(layers.layer(name)?.clone());
        }
        Some(run)
    }

    /// Keeps a layer here until the result is dropped.
    async fn hold(
        &self,
        layer: &Layer,
        ctx: &RequestContext,
    ) -> Result<ResidentLayer, CompactionError> {
        let resident = layer.get_for(AccessKind::Iter, ctx).await;
        resident.map_err(|source| CompactionError::Input {
            layer: Box::new(layer.name().clone()),
            source,
        })
    }
}

fn run_range(names: &[LayerName]) -> std::ops::Range<Lsn> {
    let start = names.iter().map(|name| name.lsn_range().start).min().unwrap_or(Lsn::INVALID);
    let end = names.iter().map(|name| name.lsn_range().end).max().unwrap_or(Lsn::INVALID);
    start..end
}
