//! Directories: values that list what exists. Byte forms: docs/formats/values.md.
//!
//! A u64 count, then the entries; integers are big-endian. Reading accepts entries in any
//! order; writing sorts them. Parsing never panics.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use postgres_ffi::{Oid, PgMajor};

/// The bytes are not a directory.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DirectoryDecodeError {
    /// The bytes end early.
    #[error("directory ends too early: {what} is incomplete")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A member is malformed.
    #[error("directory has an invalid {what}")]
    Invalid {
        /// Which member.
        what: &'static str,
    },
    /// Bytes remain after the last entry.
    #[error("directory is followed by {0} surplus bytes")]
    Surplus(usize),
}

/// A value that lists what exists.
pub trait Directory: Sized {
    /// Reads a directory that must fill `bytes`.
    fn decode(bytes: &[u8]) -> Result<Self, DirectoryDecodeError>;
    /// The byte form.
    fn encode(&self) -> Bytes;
}

/// Databases: (tablespace, database) to whether a relation map exists. Database 0 of a tablespace
/// other than `pg_global` stands for the tablespace itself, which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbDirectory(pub BTreeMap<(Oid, Oid), bool>);

/// Relation forks of one database: (relation, fork number).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelDirectory(pub BTreeSet<(Oid, u8)>);

/// Segments of one SLRU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlruDirectory(pub BTreeSet<u32>);

/// Files of the version 1 auxiliary file map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuxFilesDirectory(pub BTreeMap<String, Bytes>);

/// Prepared transactions. Ids are 32 bits wide up to PostgreSQL 16 and 64 bits from 17 on, in
/// the byte form too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwoPhaseDirectory(pub BTreeSet<u64>);

impl Directory for DbDirectory {
    fn decode(bytes: &[u8]) -> Result<Self, DirectoryDecodeError> {
        let entries = decode_entries(bytes, |reader| {
            let key = (reader.u32("tablespace")?, reader.u32("database")?);
            Ok((key, reader.bool("relation map flag")?))
        })?;
        Ok(DbDirectory(entries.into_iter().collect()))
    }

    fn encode(&self) -> Bytes {
        encode_entries(self.0.iter(), 9, |out, ((spcnode, dbnode), has_relmap)| {
            out.put_u32(*spcnode);
            out.put_u32(*dbnode);
            out.put_u8(u8::from(*has_relmap));
        })
    }
}

impl Directory for RelDirectory {
    fn decode(bytes: &[u8]) -> Result<Self, DirectoryDecodeError> {
        let entries =
            decode_entries(bytes, |reader| Ok((reader.u32("relation")?, reader.u8("fork")?)))?;
        Ok(RelDirectory(entries.into_iter().collect()))
    }

    fn encode(&self) -> Bytes {
        encode_entries(self.0.iter(), 5, |out, (relnode, fork)| {
            out.put_u32(*relnode);
            out.put_u8(*fork);
        })
    }
}

impl Directory for SlruDirectory {
    fn decode(bytes: &[u8]) -> Result<Self, DirectoryDecodeError> {
        let entries = decode_entries(bytes, |reader| reader.u32("segment"))?;
        Ok(SlruDirectory(entries.into_iter().collect()))
    }

    fn encode(&self) -> Bytes {
        encode_entries(self.0.iter(), 4, |out, segment| out.put_u32(*segment))
    }
}

impl Directory for AuxFilesDirectory {
    fn decode(bytes: &[u8]) -> Result<Self, DirectoryDecodeError> {
        let entries = decode_entries(bytes, |reader| {
            let path = String::from_utf8(reader.byte_string("path")?.to_vec())
                .map_err(|_| DirectoryDecodeError::Invalid { what: "path" })?;
            Ok((path, Bytes::copy_from_slice(reader.byte_string("content")?)))
        })?;
        Ok(AuxFilesDirectory(entries.into_iter().collect()))
    }

    fn encode(&self) -> Bytes {
        encode_entries(self.0.iter(), 64, |out, (path, content)| {
            out.put_u64(path.len() as u64);
            out.put_slice(path.as_bytes());
            out.put_u64(content.len() as u64);
            out.put_slice(content);
        })
    }
}

impl TwoPhaseDirectory {
    /// Reads a directory that must fill `bytes`.
    pub fn decode(bytes: &[u8], major: PgMajor) -> Result<Self, DirectoryDecodeError> {
        let entries = decode_entries(bytes, |reader| match major {
            PgMajor::V15 | PgMajor::V16 => reader.u32("transaction").map(u64::from),
            PgMajor::V17 | PgMajor::V18 => reader.u64("transaction"),
        })?;
        Ok(TwoPhaseDirectory(entries.into_iter().collect()))
    }

    /// The byte form.
    pub fn encode(&self, major: PgMajor) -> Bytes {
        encode_entries(self.0.iter(), 8, |out, xid| match major {
            PgMajor::V15 | PgMajor::V16 => out.put_u32(*xid as u32),
            PgMajor::V17 | PgMajor::V18 => out.put_u64(*xid),
        })
    }
}

fn encode_entries<T>(
    entries: impl ExactSizeIterator<Item = T>,
    entry_size: usize,
    mut put: impl FnMut(&mut BytesMut, T),
) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + entries.len() * entry_size);
    out.put_u64(entries.len() as u64);
    entries.for_each(|entry| put(&mut out, entry));
    out.freeze()
}

fn decode_entries<T>(
    bytes: &[u8],
    mut read: impl FnMut(&mut Reader) -> Result<T, DirectoryDecodeError>,
) -> Result<Vec<T>, DirectoryDecodeError> {
    let mut reader = Reader { rest: bytes };
    let count = reader.u64("count")?;
    // Not reserved at once: the count could be damaged, and reading ends at the last byte.
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(read(&mut reader)?);
    }
    match reader.rest.len() {
        0 => Ok(entries),
        surplus => Err(DirectoryDecodeError::Surplus(surplus)),
    }
}

/// Consumes big-endian members from the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DirectoryDecodeError> {
        let error = DirectoryDecodeError::Truncated { what };
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(error)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, DirectoryDecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    fn bool(&mut self, what: &'static str) -> Result<bool, DirectoryDecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DirectoryDecodeError::Invalid { what }),
        }
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, DirectoryDecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, DirectoryDecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    fn byte_string(&mut self, what: &'static str) -> Result<&'a [u8], DirectoryDecodeError> {
        let length = self.u64(what)?;
        let length = usize::try_from(length).map_err(|_| DirectoryDecodeError::Invalid { what })?;
        let error = DirectoryDecodeError::Truncated { what };
        let (head, rest) = self.rest.split_at_checked(length).ok_or(error)?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests;
