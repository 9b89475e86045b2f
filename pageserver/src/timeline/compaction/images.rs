//! The second stage: images where many deltas are stacked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use layer_format::{Compression, ImageLayerWriter, LayerFileError};
use pageserver_api::Key;
use pageserver_api::keyspace::{KeySpace, KeySpaceAccum};
use utils::Lsn;

use super::{CompactFlags, CompactionError, CompactionState, NewLayer, StorageOperation, Timeline};
use crate::config::ImageCompression;
use crate::context::RequestContext;

/// Keys read at once.
const BATCH_KEYS: usize = 32;
/// `field5` of keys of the free space map and the visibility map, whose damage PostgreSQL
/// repairs by itself.
const REPAIRABLE_FORKS: [u8; 2] = [1, 2];

impl Timeline {
    /// Makes images of the parts of the key space that need one.
    pub(super) async fn create_image_layers(
        self: &Arc<Self>,
        state: &mut CompactionState,
        flags: CompactFlags,
        ctx: &RequestContext,
    ) -> Result<(), CompactionError> {
        let force = flags.force_image_layer_creation;
        let lsn = self.last_record_lsn();
        if !force && !self.image_check_is_due(state.images_checked_at, lsn) {
            return Ok(());
        }
        if !force && !self.can_need_images() {
            state.images_checked_at = Some(lsn);
            return Ok(());
        }
        let _timer = self.operations.start(StorageOperation::CreateImages);
        let partitioning = self.partition(lsn, ctx).await?;
        state.images_checked_at = Some(lsn);
        let mut created = Vec::new();
        // Images leave no gaps between them: garbage collection wants whole ranges covered.
        let mut start = Key::MIN;
        for part in &partitioning.dense {
            let Some(end) = part.end() else { continue };
            if !force && !self.needs_image(part, lsn) {
                start = end;
                continue;
            }
            if let Some(layer) = self.create_dense_image(start..end, part, lsn, ctx).await? {
                created.push(layer);
                start = end;
            }
        }
        if force {
            for range in &partitioning.sparse.ranges {
                created.extend(self.create_sparse_image(range.clone(), lsn, ctx).await?);
            }
        }
        if created.is_empty() {
            return Ok(());
        }
        self.sync_directory().await?;
        tracing::info!("created {} image layers at {lsn}", created.len());
        self.publish_compacted(&[], created)
    }

    /// Whether enough WAL came since it was last looked whether images are due.
    fn image_check_is_due(&self, checked_at: Option<Lsn>, lsn: Lsn) -> bool {
        let conf = self.tenant_conf.load();
        let times = u64::from(conf.effective.image_layer_creation_check_threshold);
        let distance = conf.effective.checkpoint_distance.saturating_mul(times);
        checked_at.is_none_or(|checked_at| lsn.saturating_sub(checked_at) >= distance)
    }

    /// Whether there are enough deltas that so many could be stacked somewhere.
    fn can_need_images(&self) -> bool {
        let threshold = self.tenant_conf.load().effective.image_creation_threshold;
        let layers = self.layers_read();
        let deltas = layers.map().iter().filter(|name| name.is_delta());
        threshold > 0 && deltas.take(threshold).count() == threshold
    }

    /// Whether somewhere in the part so many deltas lie above the newest image that reads
    /// suffer.
    pub(super) fn needs_image(&self, part: &KeySpace, lsn: Lsn) -> bool {
        let threshold = self.tenant_conf.load().effective.image_creation_threshold;
        let layers = self.layers_read();
        let end_lsn = lsn + 1;
        part.ranges.iter().any(|range| {
            layers.map().image_coverage(range, end_lsn).into_iter().any(|(keys, image)| {
                let floor = image.map_or(Lsn::INVALID, |image| image.lsn_range().start);
                let stacked = layers.map().count_deltas(&keys, &(floor..end_lsn), threshold);
                threshold > 0 && stacked >= threshold
            })
        })
    }

    /// Writes an image of `range` with the keys of `part`. `None` when none of them is ours, or
    /// the image is there already.
    pub(in crate::timeline) async fn create_dense_image(
        &self,
        range: Range<Key>,
        part: &KeySpace,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Option<NewLayer>, CompactionError> {
        let Some(mut output) = self.start_image(range, lsn)? else { return Ok(None) };
        let mut batch = Vec::with_capacity(BATCH_KEYS);
        for keys in &part.ranges {
            let mut key = keys.start;
            while key < keys.end {
                if !self.shard_identity.is_key_disposable(&key) {
                    batch.push(key);
                }
                key = key.next();
                if batch.len() == BATCH_KEYS {
                    output = self.copy_batch(output, std::mem::take(&mut batch), lsn, ctx).await?;
                }
            }
        }
        output = self.copy_batch(output, batch, lsn, ctx).await?;
        self.finish_image(output).await
    }

    /// Writes an image of what a sparse range holds, without tombstones.
    async fn create_sparse_image(
        &self,
        range: Range<Key>,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<Option<NewLayer>, CompactionError> {
        let values = self.read(KeySpace::single(range.clone()), lsn, ctx).await?;
        let mut images = BTreeMap::new();
        for (key, value) in values {
            let value = value?;
            if !value.is_empty() {
                images.insert(key, value);
            }
        }
        let Some(output) = self.start_image(range, lsn)? else { return Ok(None) };
        let output = write_images(output, images).await?;
        self.finish_image(output).await
    }

    fn start_image(
        &self,
        range: Range<Key>,
        lsn: Lsn,
    ) -> Result<Option<ImageLayerWriter>, CompactionError> {
        let name = layer_format::LayerName::image(range.clone(), lsn);
        if range.is_empty() || self.find_layer(&name).is_some() {
            return Ok(None);
        }
        let compression = match self.conf.engine.image_compression {
            ImageCompression::DisabledNoDecompress | ImageCompression::Disabled => {
                Compression::None
            }
            ImageCompression::Zstd(level) => Compression::Zstd(level.unwrap_or(0).into()),
        };
        Ok(Some(ImageLayerWriter::create(
            &self.layer_owner.directory,
            self.tenant_shard_id.tenant_id,
            self.timeline_id,
            range,
            lsn,
            compression,
        )?))
    }

    /// Reads keys and appends their values.
    async fn copy_batch(
        &self,
        output: ImageLayerWriter,
        keys: Vec<Key>,
        lsn: Lsn,
        ctx: &RequestContext,
    ) -> Result<ImageLayerWriter, CompactionError> {
        if self.cancel.is_cancelled() {
            return Err(CompactionError::ShuttingDown);
        }
        if keys.is_empty() {
            return Ok(output);
        }
        let mut keyspace = KeySpaceAccum::default();
        for key in keys {
            keyspace.add_key(key);
        }
        let values = self.read(keyspace.into_keyspace(), lsn, ctx).await?;
        let mut images = BTreeMap::new();
        for (key, value) in values {
            let image = match value {
                Ok(image) => image,
                Err(error) if is_repairable(&key) && !error.is_cancelled() => {
                    tracing::warn!(
                        "could not reconstruct FSM or VM key {key}, filling with zeros: {error}"
                    );
                    Bytes::from(vec![0; postgres_ffi::BLCKSZ])
                }
                Err(error) => return Err(error.into()),
            };
            images.insert(key, image);
        }
        write_images(output, images).await
    }

    /// Completes an image; one without values is discarded.
    async fn finish_image(
        &self,
        output: ImageLayerWriter,
    ) -> Result<Option<NewLayer>, CompactionError> {
        if output.values() == 0 {
            return Ok(None);
        }
        fail::fail_point!("image-layer-writer-fail-before-finish", |_| {
            Err(CompactionError::Failpoint("image-layer-writer-fail-before-finish"))
        });
        let generation = self.generation;
        let finished = tokio::task::spawn_blocking(move || output.finish(generation));
        let finished = finished.await.map_err(|_| CompactionError::ShuttingDown)??;
        Ok(Some(NewLayer::new(finished)))
    }
}

fn is_repairable(key: &Key) -> bool {
    key.is_rel_block() && REPAIRABLE_FORKS.contains(&key.field5)
}

/// Appends values on the blocking pool.
async fn write_images(
    mut output: ImageLayerWriter,
    images: BTreeMap<Key, Bytes>,
) -> Result<ImageLayerWriter, CompactionError> {
    let written = tokio::task::spawn_blocking(move || {
        for (key, image) in images {
            output.put(key, &image)?;
        }
        Ok::<_, LayerFileError>(output)
    });
    Ok(written.await.map_err(|_| CompactionError::ShuttingDown)??)
}
