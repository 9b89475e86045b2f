//! The parts of one WAL record.
//!
//! The header items that follow the record header describe blocks, images and the main data;
//! the data itself follows in the same order. Layout: docs/formats/wal.md. Page images are
//! not decompressed here.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use postgres_ffi::{BlockNumber, PgMajor, RelTag, TooShort};
use smallvec::SmallVec;
use utils::Lsn;

mod parse;

/// The blocks of a record. Nearly every record has one or two, for which nothing is allocated.
pub type BlockReferences<'a> = SmallVec<[BlockReference<'a>; 2]>;

/// A record taken apart. It borrows the raw record and copies nothing of it.
#[derive(Clone, Debug)]
pub struct DecodedRecord<'a> {
    /// The whole record, header included.
    pub raw: &'a Bytes,
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
    pub blocks: BlockReferences<'a>,
    /// Data not tied to a block.
    pub main_data: &'a [u8],
}

/// One block a record refers to.
#[derive(Clone, Debug)]
pub struct BlockReference<'a> {
    /// Number of the reference, 0..=32; resource managers give each a role.
    pub id: u8,
    /// The fork the block belongs to.
    pub rel: RelTag,
    /// The block.
    pub block: BlockNumber,
    /// The record rebuilds the page from nothing.
    pub will_init: bool,
    /// A page image, if logged.
    pub image: Option<BlockImage<'a>>,
    /// Data tied to this block; empty if none.
    pub data: &'a [u8],
}

/// A page image inside a record, as logged.
#[derive(Clone, Copy, Debug)]
pub struct BlockImage<'a> {
    /// Stored bytes: the page without its hole, perhaps compressed.
    pub bytes: &'a [u8],
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

/// Why a record cannot be taken apart.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordDecodeError {
    /// The record ends inside one of its parts.
    #[error("record (rmgr {rmid}, info {info:#04X}) is malformed: {source}")]
    TooShort {
        /// Resource manager.
        rmid: u8,
        /// Info byte.
        info: u8,
        /// What was missing.
        source: TooShort,
    },
    /// The length in the header is not the record's.
    #[error("record of {found} bytes says it has {stated}")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes the header gives.
        stated: u32,
    },
    /// A header item is of no known kind.
    #[error("record (rmgr {rmid}, info {info:#04X}) has unknown block id {id}")]
    UnknownBlockId {
        /// Resource manager.
        rmid: u8,
        /// Info byte.
        info: u8,
        /// The id.
        id: u8,
    },
    /// A member of a block reference is impossible.
    #[error("record (rmgr {rmid}, info {info:#04X}), block reference {id}: {what}")]
    BlockReference {
        /// Resource manager.
        rmid: u8,
        /// Info byte.
        info: u8,
        /// Number of the reference.
        id: u8,
        /// What is impossible.
        what: &'static str,
    },
    /// The parts do not add up to the record.
    #[error("record (rmgr {rmid}, info {info:#04X}) has {surplus} bytes that belong to no part")]
    Surplus {
        /// Resource manager.
        rmid: u8,
        /// Info byte.
        info: u8,
        /// Bytes left over.
        surplus: usize,
    },
}

/// Takes a whole record apart. The result borrows `raw`.
///
/// The layout is the same in all supported versions; `major` decides nothing today and is there
/// because a coming version will change it.
pub fn decode(raw: &Bytes, major: PgMajor) -> Result<DecodedRecord<'_>, RecordDecodeError> {
    parse::decode(raw, major)
}

impl<'a> DecodedRecord<'a> {
    /// The reference with this number, if the record has it.
    pub fn block_by_id(&self, id: u8) -> Option<&BlockReference<'a>> {
        self.blocks.iter().find(|block| block.id == id)
    }

    /// The reference to this block, if the record has one.
    pub fn block_by_location(
        &self,
        rel: RelTag,
        block: BlockNumber,
    ) -> Option<&BlockReference<'a>> {
        self.blocks.iter().find(|r| r.rel == rel && r.block == block)
    }

    /// The resource manager's part of the info byte.
    pub fn rmgr_info(&self) -> u8 {
        self.info & 0xF0
    }
}

#[cfg(test)]
mod tests;
