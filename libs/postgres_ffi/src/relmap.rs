//! `pg_filenode.map`: where the catalogs that cannot be looked up in a catalog live.
//!
//! Layout: magic i32, count i32, (oid u32, file u32) pairs up to a fixed maximum, CRC-32C of
//! everything before it; 512 bytes up to PostgreSQL 15, 524 from 16 on.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::Oid;
use crate::reader::{LeReader, TooShort};
use crate::version::PgMajor;

const RELMAPPER_FILEMAGIC: i32 = 0x0059_2717;

/// Why bytes are not a relation map.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RelMapError {
    /// The length is not this version's.
    #[error("relation map has {found} bytes instead of {expected}")]
    BadSize {
        /// Bytes found.
        found: usize,
        /// Bytes this version writes.
        expected: usize,
    },
    /// Not a relation map, or an impossible number of entries.
    #[error("relation map has magic {magic:#X} and {count} entries: it is damaged")]
    BadHeader {
        /// Magic number found.
        magic: i32,
        /// Number of entries found.
        count: i32,
    },
    /// The contents are damaged.
    #[error("relation map has a wrong CRC: it is damaged")]
    BadCrc,
    /// The file ends early.
    #[error("relation map is truncated: {0}")]
    Truncated(#[from] TooShort),
}

/// Length of a relation map file in bytes.
pub const fn relmap_size(major: PgMajor) -> usize {
    match major {
        PgMajor::V15 => 512,
        PgMajor::V16 | PgMajor::V17 | PgMajor::V18 => 524,
    }
}

/// The pairs of catalog and file number in a relation map.
pub fn parse_relmap(bytes: &[u8], major: PgMajor) -> Result<Vec<(Oid, Oid)>, RelMapError> {
    let expected = relmap_size(major);
    if bytes.len() != expected {
        return Err(RelMapError::BadSize { found: bytes.len(), expected });
    }
    let max_entries = match major {
        PgMajor::V15 => 62,
        PgMajor::V16 | PgMajor::V17 | PgMajor::V18 => 64,
    };
    let mut reader = LeReader::new(bytes);
    let (magic, count) = (reader.i32("magic")?, reader.i32("count")?);
    let entries = usize::try_from(count).ok().filter(|n| *n <= max_entries);
    let (RELMAPPER_FILEMAGIC, Some(entries)) = (magic, entries) else {
        return Err(RelMapError::BadHeader { magic, count });
    };
    let mut body = LeReader::new(reader.bytes(8 * max_entries, "mappings")?);
    let crc = reader.u32("CRC")?;
    let covered = bytes.get(..8 + 8 * max_entries).unwrap_or_default();
    if crc32c::crc32c(covered) != crc {
        return Err(RelMapError::BadCrc);
    }
    (0..entries).map(|_| Ok((body.u32("catalog")?, body.u32("file")?))).collect()
}
