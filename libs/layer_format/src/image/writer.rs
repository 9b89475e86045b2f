//! Writes an image layer from values in ascending order of key.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::Key;
use pageserver_api::key::KEY_SIZE;
use utils::{Generation, Lsn, TenantId, TimelineId};

use crate::blob::Compression;
use crate::error::{LayerFileError, LayerFileReason};
use crate::name::LayerName;
use crate::summary::Summary;
use crate::write::LayerFileWriter;

/// An image layer in the making. Its file has a temporary name until [`Self::finish`], and is
/// removed if the writer is dropped before.
pub struct ImageLayerWriter {
    writer: LayerFileWriter<KEY_SIZE>,
    directory: Utf8PathBuf,
    tenant_id: TenantId,
    timeline_id: TimelineId,
    key_range: Range<Key>,
    lsn: Lsn,
    values: u64,
}

impl ImageLayerWriter {
    /// Starts a layer in `directory` that covers all of `key_range` at `lsn`.
    pub fn create(
        directory: &Utf8Path,
        tenant_id: TenantId,
        timeline_id: TimelineId,
        key_range: Range<Key>,
        lsn: Lsn,
        compression: Compression,
    ) -> Result<Self, LayerFileError> {
        let stem = LayerName::image(key_range.clone(), lsn).to_string();
        let writer = LayerFileWriter::create(directory, &stem, compression)?;
        let directory = directory.to_owned();
        Ok(ImageLayerWriter {
            writer,
            directory,
            tenant_id,
            timeline_id,
            key_range,
            lsn,
            values: 0,
        })
    }

    /// Appends the bare value of a key.
    pub fn put(&mut self, key: Key, image: &[u8]) -> Result<(), LayerFileError> {
        if !self.key_range.contains(&key) {
            let text = format!("key {key} lies outside the layer");
            return Err(self.writer.fail(LayerFileReason::Refused(text)));
        }
        self.values += 1;
        let offset = self.writer.offset();
        self.writer.put(&key.to_bytes(), offset, image)
    }

    /// Number of values so far. A layer without any cannot be finished.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// Length the file would have if finished now, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.writer.size_bytes()
    }

    /// Completes the file under its final name. Returns the layer, where it is, and its
    /// length. The directory is not fsynced.
    pub fn finish(
        self,
        generation: Generation,
    ) -> Result<(LayerName, Utf8PathBuf, u64), LayerFileError> {
        let name = LayerName::image(self.key_range, self.lsn);
        let path = self.directory.join(name.local_file_name(generation));
        let (tenant_id, timeline_id) = (self.tenant_id, self.timeline_id);
        let summary_name = name.clone();
        let size = self.writer.finish(&path, |index_start_block, index_root_block| Summary {
            tenant_id,
            timeline_id,
            name: summary_name,
            index_start_block,
            index_root_block,
        })?;
        Ok((name, path, size))
    }
}
