//! The first block of a layer file: whose it is, what it covers, and where its index is.
//!
//! Format: docs/formats/layer-files.md, "Summary".

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use pageserver_api::Key;
use utils::{Lsn, TenantId, TimelineId};

use crate::block::{BLOCK_SIZE, BlockReader};
use crate::error::{LayerFileError, LayerFileReason, at};
use crate::name::LayerName;

/// First two bytes of an image layer.
pub const IMAGE_MAGIC: u16 = 0x5A60;
/// First two bytes of a delta layer.
pub const DELTA_MAGIC: u16 = 0x5A61;
/// Version of both formats.
pub const LAYER_FORMAT_VERSION: u16 = 3;
/// Offset of the first value: the block after the summary.
pub const VALUES_START: u64 = BLOCK_SIZE as u64;
/// Length of a delta layer's summary, the longer one.
const MAX_SUMMARY_SIZE: usize = 96;

/// The identity of a layer file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The tenant, without its shard.
    pub tenant_id: TenantId,
    /// The timeline that wrote the file; a detached branch keeps its ancestor's files.
    pub timeline_id: TimelineId,
    /// What the file covers.
    pub name: LayerName,
    /// First block of the index.
    pub index_start_block: u32,
    /// Root of the index, relative to its first block.
    pub index_root_block: u32,
}

impl Summary {
    /// Serialises the summary.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_SUMMARY_SIZE);
        let magic = if self.name.is_delta() { DELTA_MAGIC } else { IMAGE_MAGIC };
        bytes.extend_from_slice(&magic.to_be_bytes());
        bytes.extend_from_slice(&LAYER_FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(self.tenant_id.as_bytes());
        bytes.extend_from_slice(self.timeline_id.as_bytes());
        let keys = self.name.key_range();
        bytes.extend_from_slice(&keys.start.to_bytes());
        bytes.extend_from_slice(&keys.end.to_bytes());
        let lsns = self.name.lsn_range();
        bytes.extend_from_slice(&lsns.start.0.to_be_bytes());
        if self.name.is_delta() {
            bytes.extend_from_slice(&lsns.end.0.to_be_bytes());
        }
        bytes.extend_from_slice(&self.index_start_block.to_be_bytes());
        bytes.extend_from_slice(&self.index_root_block.to_be_bytes());
        bytes
    }

    /// Reads the summary of a file of either kind.
    pub fn read(blocks: &impl BlockReader) -> Result<Summary, LayerFileError> {
        let fail = at(blocks.name(), 0);
        let length = blocks.length_bytes();
        if length < VALUES_START {
            return Err(fail(LayerFileReason::Truncated { length }));
        }
        match blocks.read_block(0) {
            Ok(block) => Summary::parse(block.as_slice())
                .map_err(|reason| fail(LayerFileReason::InvalidSummary(reason))),
            Err(error) => Err(fail(LayerFileReason::Io(error))),
        }
    }

    /// Reads the summary and checks that it is that of `name` of `tenant_id`. The timeline is
    /// not compared: a detached branch adopts its ancestor's files.
    pub fn read_expected(
        blocks: &impl BlockReader,
        tenant_id: TenantId,
        name: &LayerName,
    ) -> Result<Summary, LayerFileError> {
        let mismatch = |text: String| at(blocks.name(), 0)(LayerFileReason::SummaryMismatch(text));
        let found = match Summary::read(blocks) {
            Err(LayerFileError { reason: LayerFileReason::InvalidSummary(reason), .. }) => {
                return Err(mismatch(reason.to_owned()));
            }
            found => found?,
        };
        if found.tenant_id != tenant_id {
            return Err(mismatch(format!("tenant {}, expected {tenant_id}", found.tenant_id)));
        }
        if found.name != *name {
            return Err(mismatch(format!("layer {}, expected {name}", found.name)));
        }
        let length = blocks.length_bytes();
        let index_offset = u64::from(found.index_start_block) * BLOCK_SIZE as u64;
        if index_offset < VALUES_START || index_offset >= length {
            let reason = LayerFileReason::Truncated { length };
            return Err(at(blocks.name(), index_offset)(reason));
        }
        Ok(found)
    }

    fn parse(bytes: &[u8]) -> Result<Summary, &'static str> {
        let mut reader = Reader(bytes);
        let magic = u16::from_be_bytes(reader.array()?);
        if magic != DELTA_MAGIC && magic != IMAGE_MAGIC {
            return Err("unknown magic number");
        }
        if u16::from_be_bytes(reader.array()?) != LAYER_FORMAT_VERSION {
            return Err("unsupported format version");
        }
        let tenant_id = TenantId::from_bytes(reader.array()?);
        let timeline_id = TimelineId::from_bytes(reader.array()?);
        let keys = Key::from_bytes(&reader.array()?)..Key::from_bytes(&reader.array()?);
        let start = Lsn(u64::from_be_bytes(reader.array()?));
        let name = if magic == DELTA_MAGIC {
            LayerName::delta(keys, start..Lsn(u64::from_be_bytes(reader.array()?)))
        } else {
            LayerName::image(keys, start)
        };
        let index_start_block = u32::from_be_bytes(reader.array()?);
        let index_root_block = u32::from_be_bytes(reader.array()?);
        Ok(Summary { tenant_id, timeline_id, name, index_start_block, index_root_block })
    }
}

/// Consumes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("the summary ends early")?;
        self.0 = rest;
        Ok(*head)
    }
}
