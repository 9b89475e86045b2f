//! Writes a delta layer from values in ascending order of key and LSN.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::{Key, Value};
use utils::{Generation, Lsn, TenantId, TimelineId};

use super::{INDEX_KEY_SIZE, index_key};
use crate::blob::Compression;
use crate::error::{LayerFileError, LayerFileReason};
use crate::name::LayerName;
use crate::summary::Summary;
use crate::write::LayerFileWriter;

/// Larger files are refused.
pub const MAX_DELTA_FILE_SIZE: u64 = 4_500_000_000;

/// A delta layer in the making. Its file has a temporary name until [`Self::finish`], and is
/// removed if the writer is dropped before.
pub struct DeltaLayerWriter {
    writer: LayerFileWriter<INDEX_KEY_SIZE>,
    directory: Utf8PathBuf,
    tenant_id: TenantId,
    timeline_id: TimelineId,
    key_start: Key,
    lsn_range: Range<Lsn>,
    last_key: Option<Key>,
    values: u64,
}

impl DeltaLayerWriter {
    /// Starts a layer in `directory` that covers `lsn_range` and keys from `key_start` on.
    pub fn create(
        directory: &Utf8Path,
        tenant_id: TenantId,
        timeline_id: TimelineId,
        key_start: Key,
        lsn_range: Range<Lsn>,
    ) -> Result<Self, LayerFileError> {
        let lsns = format!("{:016X}-{:016X}", lsn_range.start.0, lsn_range.end.0);
        let stem = format!("{key_start}-XXX__{lsns}");
        Ok(DeltaLayerWriter {
            // Delta values are written as they are; only images repay compression.
            writer: LayerFileWriter::create(directory, &stem, Compression::None)?,
            directory: directory.to_owned(),
            tenant_id,
            timeline_id,
            key_start,
            lsn_range,
            last_key: None,
            values: 0,
        })
    }

    /// Appends a value in its serialised form.
    pub fn put(&mut self, key: Key, lsn: Lsn, value: &[u8]) -> Result<(), LayerFileError> {
        if !self.lsn_range.contains(&lsn) || key < self.key_start {
            let text = format!("key {key} at {lsn} lies outside the layer");
            return Err(self.writer.fail(LayerFileReason::Refused(text)));
        }
        let will_init = Value::encoded_will_init(value)
            .map_err(|error| self.writer.fail(LayerFileReason::Refused(error.to_string())))?;
        let index_value = self.writer.offset() << 1 | u64::from(will_init);
        self.writer.put(&index_key(&key, lsn), index_value, value)?;
        self.last_key = Some(key);
        self.values += 1;
        Ok(())
    }

    /// Length the file would have if finished now, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.writer.size_bytes()
    }

    /// Number of values so far.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// Key of the last value.
    pub fn last_key(&self) -> Option<Key> {
        self.last_key
    }

    /// Completes the file under its final name, which ends at `key_end` and carries
    /// `generation`. Returns the layer, where it is, and its length. The directory is not
    /// fsynced.
    pub fn finish(
        self,
        key_end: Key,
        generation: Generation,
    ) -> Result<(LayerName, Utf8PathBuf, u64), LayerFileError> {
        if self.size_bytes() > MAX_DELTA_FILE_SIZE {
            let text = format!("delta layer file of {} bytes is too large", self.size_bytes());
            return Err(self.writer.fail(LayerFileReason::Refused(text)));
        }
        if self.last_key.is_some_and(|last| last >= key_end) {
            let text = format!("the last key is not below the layer's end {key_end}");
            return Err(self.writer.fail(LayerFileReason::Refused(text)));
        }
        let name = LayerName::delta(self.key_start..key_end, self.lsn_range);
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
