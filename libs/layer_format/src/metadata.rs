//! Timeline metadata: the few numbers that define a timeline beside its layers.
//!
//! Two forms exist: JSON inside `index_part.json`, and 512 checksummed bytes in indexes of
//! earlier versions. Format: docs/formats/timeline-metadata.md. Owns no I/O.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use serde::{Deserialize, Serialize};
use utils::{Lsn, TimelineId};

/// Length of the binary form.
pub const METADATA_SIZE: usize = 512;
/// Version the binary writer emits.
const FORMAT_VERSION: u16 = 4;
/// Oldest version the reader accepts; it lacks the PostgreSQL version.
const FORMAT_VERSION_WITHOUT_PG: u16 = 3;
/// Bytes before the body: checksum, size, version.
const HEADER_SIZE: usize = 8;
/// PostgreSQL version meant by indexes that predate the field.
const IMPLIED_PG_VERSION: u32 = 14;

/// What a timeline is, apart from its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineMetadata {
    /// Everything up to and including this LSN is in layer files.
    pub disk_consistent_lsn: Lsn,
    /// Start of the record that ends at `disk_consistent_lsn`, when that is exact.
    pub prev_record_lsn: Option<Lsn>,
    /// The timeline this one was branched from.
    pub ancestor_timeline: Option<TimelineId>,
    /// The branch point; 0/0 without an ancestor.
    pub ancestor_lsn: Lsn,
    /// Reads below this LSN are refused.
    pub latest_gc_cutoff_lsn: Lsn,
    /// End of the initial import.
    pub initdb_lsn: Lsn,
    /// PostgreSQL major version, such as 15.
    pub pg_version: u32,
}

/// The bytes are not timeline metadata.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetadataError {
    /// Not exactly 512 bytes.
    #[error("metadata bytes size is wrong: {0} bytes, expected 512")]
    WrongLength(usize),
    /// The size field points outside the block.
    #[error("corrupted metadata file: its size field says {0}")]
    Corrupted(u16),
    /// The body does not match its checksum.
    #[error("metadata checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the body.
        computed: u32,
    },
    /// Written by an unknown version.
    #[error("unsupported metadata format version {0}")]
    UnsupportedVersion(u16),
    /// The body ends early or has an invalid option tag.
    #[error("malformed metadata body: {0}")]
    Malformed(&'static str),
    /// The consistent LSN is not a record boundary.
    #[error("disk_consistent_lsn is not aligned: {0}")]
    Unaligned(Lsn),
}

impl TimelineMetadata {
    /// Serialises to the 512-byte form.
    pub fn to_bytes(&self) -> [u8; METADATA_SIZE] {
        let mut body = Vec::with_capacity(METADATA_SIZE - HEADER_SIZE);
        body.extend_from_slice(&self.disk_consistent_lsn.0.to_be_bytes());
        match self.prev_record_lsn {
            None => body.push(0),
            Some(lsn) => {
                body.push(1);
                body.extend_from_slice(&lsn.0.to_be_bytes());
            }
        }
        match &self.ancestor_timeline {
            None => body.push(0),
            Some(id) => {
                body.push(1);
                body.extend_from_slice(id.as_bytes());
            }
        }
        for lsn in [self.ancestor_lsn, self.latest_gc_cutoff_lsn, self.initdb_lsn] {
            body.extend_from_slice(&lsn.0.to_be_bytes());
        }
        body.extend_from_slice(&self.pg_version.to_be_bytes());

        let size = (HEADER_SIZE + body.len()) as u16;
        let header = crc32c::crc32c(&body).to_be_bytes().into_iter();
        let header = header.chain(size.to_be_bytes()).chain(FORMAT_VERSION.to_be_bytes());
        let mut bytes = [0; METADATA_SIZE];
        for (to, from) in bytes.iter_mut().zip(header.chain(body)) {
            *to = from;
        }
        bytes
    }

    /// Reads the 512-byte form.
    pub fn from_bytes(bytes: &[u8]) -> Result<TimelineMetadata, MetadataError> {
        if bytes.len() != METADATA_SIZE {
            return Err(MetadataError::WrongLength(bytes.len()));
        }
        let mut header = Reader(bytes);
        let stored = u32::from_be_bytes(header.array("checksum")?);
        let size = u16::from_be_bytes(header.array("size")?);
        let version = u16::from_be_bytes(header.array("version")?);
        let body =
            bytes.get(HEADER_SIZE..usize::from(size)).ok_or(MetadataError::Corrupted(size))?;
        let computed = crc32c::crc32c(body);
        if stored != computed {
            return Err(MetadataError::Checksum { stored, computed });
        }
        if version != FORMAT_VERSION && version != FORMAT_VERSION_WITHOUT_PG {
            return Err(MetadataError::UnsupportedVersion(version));
        }
        let metadata = Self::read_body(&mut Reader(body), version)?;
        if version == FORMAT_VERSION && !metadata.disk_consistent_lsn.is_aligned() {
            return Err(MetadataError::Unaligned(metadata.disk_consistent_lsn));
        }
        Ok(metadata)
    }

    fn read_body(body: &mut Reader<'_>, version: u16) -> Result<TimelineMetadata, MetadataError> {
        Ok(TimelineMetadata {
            disk_consistent_lsn: body.lsn("disk_consistent_lsn")?,
            prev_record_lsn: match body.option("prev_record_lsn")? {
                true => Some(body.lsn("prev_record_lsn")?),
                false => None,
            },
            ancestor_timeline: match body.option("ancestor_timeline")? {
                true => Some(TimelineId::from_bytes(body.array("ancestor_timeline")?)),
                false => None,
            },
            ancestor_lsn: body.lsn("ancestor_lsn")?,
            latest_gc_cutoff_lsn: body.lsn("latest_gc_cutoff_lsn")?,
            initdb_lsn: body.lsn("initdb_lsn")?,
            pg_version: match version {
                FORMAT_VERSION_WITHOUT_PG => IMPLIED_PG_VERSION,
                _ => u32::from_be_bytes(body.array("pg_version")?),
            },
        })
    }
}

/// Consumes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], MetadataError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(MetadataError::Malformed(what))?;
        self.0 = rest;
        Ok(*head)
    }

    fn lsn(&mut self, what: &'static str) -> Result<Lsn, MetadataError> {
        self.array(what).map(u64::from_be_bytes).map(Lsn)
    }

    fn option(&mut self, what: &'static str) -> Result<bool, MetadataError> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(MetadataError::Malformed(what)),
        }
    }
}

#[cfg(test)]
mod tests;
