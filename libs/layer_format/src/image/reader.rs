//! Reads an image layer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::key::KEY_SIZE;
use utils::TenantId;

use crate::block::BlockReader;
use crate::btree::BTreeReader;
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
        let mut plan = Vec::new();
        for keys in key_ranges {
            self.visit(keys.start, |key, range| {
                let wanted = key < keys.end;
                if wanted {
                    plan.push(PlannedBlob { meta: key, range });
                }
                wanted
            })?;
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

    /// Calls `visitor` for each index entry from `start` on, until it returns false.
    fn visit(
        &self,
        start: Key,
        mut visitor: impl FnMut(Key, Range<u64>) -> bool,
    ) -> Result<(), LayerFileError> {
        let Summary { index_start_block, index_root_block, .. } = self.summary;
        let tree: BTreeReader<&R, KEY_SIZE> =
            BTreeReader::new(&self.blocks, index_start_block, index_root_block);
        let mut cursor = tree.seek(&start.to_bytes())?;
        let mut pending: Option<(Key, u64)> = None;
        while let Some((bytes, offset)) = cursor.next_entry()? {
            let key = Key::from_bytes(&bytes);
            let previous = pending.map(|(_, offset)| offset);
            read::check_offset(self.blocks.name(), &self.summary, previous, offset)?;
            if let Some((key, start)) = pending.replace((key, offset))
                && !visitor(key, start..offset)
            {
                return Ok(());
            }
        }
        if let Some((key, start)) = pending {
            let end = read::last_value_end(&self.blocks, &self.summary, start)?;
            visitor(key, start..end);
        }
        Ok(())
    }
}
