//! Reads a delta layer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pageserver_api::Key;
use utils::{Lsn, TenantId};

use super::{INDEX_KEY_SIZE, index_key, split_index_key};
use crate::block::BlockReader;
use crate::btree::BTreeReader;
use crate::error::LayerFileError;
use crate::name::LayerName;
use crate::read::{self, PlannedBlob};
use crate::summary::Summary;

/// What the index says about one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaEntry {
    /// The key.
    pub key: Key,
    /// When the key got this value.
    pub lsn: Lsn,
    /// Whether no older value is needed to reconstruct the key.
    pub will_init: bool,
}

/// An open delta layer.
#[derive(Debug)]
pub struct DeltaLayerReader<R> {
    blocks: R,
    summary: Summary,
}

impl<R: BlockReader> DeltaLayerReader<R> {
    /// Opens a file that must be the layer `name` of `tenant_id`.
    pub fn open(blocks: R, tenant_id: TenantId, name: &LayerName) -> Result<Self, LayerFileError> {
        let summary = Summary::read_expected(&blocks, tenant_id, name)?;
        Ok(DeltaLayerReader { blocks, summary })
    }

    /// The file's first block.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every value of the layer in order.
    pub fn entries(&self) -> Result<Vec<PlannedBlob<DeltaEntry>>, LayerFileError> {
        let mut found = Vec::new();
        self.visit(Key::MIN, |entry, range| {
            found.push(PlannedBlob { meta: entry, range });
            true
        })?;
        Ok(found)
    }

    /// The values needed to reconstruct the keys of `key_ranges` as of `lsn_range.end`
    /// (exclusive), going back no further than `lsn_range.start`: per key everything from its
    /// newest self-sufficient value on. `key_ranges` must ascend.
    pub fn plan(
        &self,
        key_ranges: &[Range<Key>],
        lsn_range: &Range<Lsn>,
    ) -> Result<Vec<PlannedBlob<DeltaEntry>>, LayerFileError> {
        let mut plan: Vec<PlannedBlob<DeltaEntry>> = Vec::new();
        for keys in key_ranges {
            // Values of the key being visited start here.
            let mut first_of_key = plan.len();
            self.visit(keys.start, |entry, range| {
                if entry.key >= keys.end {
                    return false;
                }
                if !lsn_range.contains(&entry.lsn) {
                    return true;
                }
                if plan.last().is_some_and(|last| last.meta.key != entry.key) {
                    first_of_key = plan.len();
                }
                if entry.will_init {
                    plan.truncate(first_of_key);
                }
                plan.push(PlannedBlob { meta: entry, range });
                true
            })?;
        }
        Ok(plan)
    }

    /// Reads planned values and hands each to `sink`, in ascending order of key and LSN.
    pub fn read(
        &self,
        plan: Vec<PlannedBlob<DeltaEntry>>,
        max_read_bytes: u64,
        sink: impl FnMut(DeltaEntry, Result<Bytes, Arc<LayerFileError>>),
    ) {
        read::read_planned(&self.blocks, plan, max_read_bytes, sink);
    }

    /// Calls `visitor` for each index entry from `start` on, until it returns false. Knowing
    /// where a value ends takes the entry after it, so one more entry is read than visited.
    fn visit(
        &self,
        start: Key,
        mut visitor: impl FnMut(DeltaEntry, Range<u64>) -> bool,
    ) -> Result<(), LayerFileError> {
        let Summary { index_start_block, index_root_block, .. } = self.summary;
        let tree: BTreeReader<&R, INDEX_KEY_SIZE> =
            BTreeReader::new(&self.blocks, index_start_block, index_root_block);
        let mut cursor = tree.seek(&index_key(&start, Lsn(0)))?;
        let mut pending: Option<(DeltaEntry, u64)> = None;
        while let Some((bytes, value)) = cursor.next_entry()? {
            let (key, lsn) = split_index_key(&bytes);
            let entry = DeltaEntry { key, lsn, will_init: value & 1 == 1 };
            let offset = value >> 1;
            let previous = pending.map(|(_, offset)| offset);
            read::check_offset(self.blocks.name(), &self.summary, previous, offset)?;
            if let Some((entry, start)) = pending.replace((entry, offset))
                && !visitor(entry, start..offset)
            {
                return Ok(());
            }
        }
        if let Some((entry, start)) = pending {
            let end = read::last_value_end(&self.blocks, &self.summary, start)?;
            visitor(entry, start..end);
        }
        Ok(())
    }
}
