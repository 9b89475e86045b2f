//! The parts of one WAL record.

use bytes::Bytes;
use postgres_ffi::{BlockNumber, RelTag};
use utils::Lsn;

/// A record taken apart. Every `Bytes` shares the memory of the raw record.
#[derive(Clone, Debug)]
pub struct DecodedRecord {
    /// The whole record, header included.
    pub raw: Bytes,
    /// Transaction, 0 if none.
    pub xid: u32,
    /// Start of the record before this one.
    pub prev: Lsn,
    /// Info byte: the high nibble belongs to the resource manager.
    pub info: u8,
    /// Resource manager.
    pub rmid: u8,
    /// Replication origin, 0 if none.
    pub origin_id: u16,
    /// Top-level transaction, when logged.
    pub toplevel_xid: Option<u32>,
    /// Blocks the record refers to, in record order.
    pub blocks: Vec<BlockReference>,
    /// Data not tied to a block.
    pub main_data: Bytes,
}

/// One block a record refers to.
#[derive(Clone, Debug)]
pub struct BlockReference {
    /// Number of the reference, 0..=32; resource managers give each a role.
    pub id: u8,
    /// The fork the block belongs to.
    pub rel: RelTag,
    /// The block.
    pub block: BlockNumber,
    /// The record rebuilds the page from nothing.
    pub will_init: bool,
    /// A page image, if logged.
    pub image: Option<BlockImage>,
    /// Data tied to this block; empty if none.
    pub data: Bytes,
}

/// A page image inside a record, as logged.
#[derive(Clone, Debug)]
pub struct BlockImage {
    /// Stored bytes: the page without its hole, perhaps compressed.
    pub bytes: Bytes,
    /// Where the hole begins.
    pub hole_offset: u16,
    /// Length of the hole, 0 if there is none.
    pub hole_length: u16,
    /// How `bytes` is compressed.
    pub compression: ImageCompression,
    /// Redo must restore the image (false: it is there for consistency checks only).
    pub apply: bool,
}

/// How a page image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCompression {
    /// Not at all.
    None,
    /// PostgreSQL's own algorithm.
    Pglz,
    /// One raw LZ4 block.
    Lz4,
    /// One Zstandard frame.
    Zstd,
}

impl DecodedRecord {
    /// The reference with this number, if the record has it.
    pub fn block_by_id(&self, id: u8) -> Option<&BlockReference> {
        self.blocks.iter().find(|block| block.id == id)
    }

    /// The reference to this block, if the record has one.
    pub fn block_by_location(&self, rel: RelTag, block: BlockNumber) -> Option<&BlockReference> {
        self.blocks.iter().find(|r| r.rel == rel && r.block == block)
    }

    /// The resource manager's part of the info byte.
    pub fn rmgr_info(&self) -> u8 {
        self.info & 0xF0
    }
}
