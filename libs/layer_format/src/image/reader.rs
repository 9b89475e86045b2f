//! Reads an image layer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::key::KEY_SIZE;
use utils::TenantId;

use crate::block::BlockReader;
use crate::btree::{BTreeCursor, BTreeReader};
use crate::error::LayerFileError;
use crate::name::LayerName;
use crate::read::{self, PlannedBlob};
use crate::summary::Summary;

/// An open image layer.
#[derive(Debug)]
pub struct ImageLayerReader<R> {
    blocks: R,
    summary: Summary,
}

impl<R: BlockReader> ImageLayerReader<R> {
    /// Opens a file that must be the layer `name` of `tenant_id`.
    pub fn open(blocks: R, tenant_id: TenantId, name: &LayerName) -> Result<Self, LayerFileError> {
        let summary = Summary::read_expected(&blocks, tenant_id, name)?;
        Ok(ImageLayerReader { blocks, summary })
    }

    /// The file's first block.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Where the values of the keys of `key_ranges` are. A key of the layer's range that does
    /// not turn up does not exist at the layer's LSN. `key_ranges` must ascend.
    pub fn plan(&self, key_ranges: &[Range<Key>]) -> Result<Vec<PlannedBlob<Key>>, LayerFileError> {
        let Some(first) = key_ranges.first() else { return Ok(Vec::new()) };
        let tree = self.index();
        let mut cursor = tree.seek(&first.start.to_bytes())?;
        let mut plan = Vec::new();
        let mut entry = self.next_entry(&mut cursor, None)?;
        for keys in key_ranges {
            if entry.is_some_and(|(key, _)| key < keys.start) {
                cursor.advance(&keys.start.to_bytes())?;
                entry = self.next_entry(&mut cursor, entry)?;
            }
            while let Some((key, start)) = entry
                && key < keys.end
            {
                let next = self.next_entry(&mut cursor, entry)?;
                let end = match next {
                    Some((_, end)) => end,
                    None => read::last_value_end(&self.blocks, &self.summary, start)?,
                };
                plan.push(PlannedBlob { meta: key, range: start..end });
                entry = next;
            }
        }
        Ok(plan)
    }

    /// Reads planned values and hands each to `sink`, in ascending order of key.
    pub fn read(
        &self,
        plan: Vec<PlannedBlob<Key>>,
        max_read_bytes: u64,
        sink: impl FnMut(Key, Result<Bytes, Arc<LayerFileError>>),
    ) {
        read::read_planned(&self.blocks, plan, max_read_bytes, sink);
    }

    fn index(&self) -> BTreeReader<&R, KEY_SIZE> {
        let Summary { index_start_block, index_root_block, .. } = self.summary;
        BTreeReader::new(&self.blocks, index_start_block, index_root_block)
    }

    /// The next key and the offset of its value, which lies beyond that of the entry before.
    fn next_entry(
        &self,
        cursor: &mut BTreeCursor<'_, &R, KEY_SIZE>,
        previous: Option<(Key, u64)>,
    ) -> Result<Option<(Key, u64)>, LayerFileError> {
        let Some((bytes, offset)) = cursor.next_entry()? else { return Ok(None) };
        let previous = previous.map(|(_, offset)| offset);
        read::check_offset(self.blocks.name(), &self.summary, previous, offset)?;
        Ok(Some((Key::from_bytes(&bytes), offset)))
    }
}
