//! Blobs: values with a length header of one or four bytes, optionally compressed.
//!
//! Format: docs/formats/layer-files.md, "Blobs".

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::Bytes;

/// Longest content a header can describe.
pub const MAX_BLOB_SIZE: usize = 0x0FFF_FFFF;
/// Content shorter than this has a one-byte header and is never compressed.
const SHORT_LIMIT: usize = 128;
/// Top nibble of the header of an uncompressed long blob.
const CODE_PLAIN: u8 = 0x8;
/// Top nibble of the header of a zstd-compressed blob.
const CODE_ZSTD: u8 = 0x9;

/// How a writer stores long values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// With zstd at this level (0 = the library's default), if that makes them smaller.
    Zstd(i32),
}

/// A blob is malformed or cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Content beyond [`MAX_BLOB_SIZE`].
    #[error("blob too large ({0} bytes)")]
    TooLarge(usize),
    /// The bytes end inside the header or the content.
    #[error("the blob ends early: {needed} bytes missing")]
    Truncated {
        /// Bytes missing.
        needed: usize,
    },
    /// The header names an unknown compression.
    #[error("unknown blob compression code {0:#x}")]
    UnknownCompression(u8),
    /// The compressed content is invalid.
    #[error("cannot decompress a blob: {0}")]
    Decompress(#[source] std::io::Error),
    /// The index and the header disagree about where the blob ends.
    #[error("the blob is {header} bytes long by its header, but {index} by the index")]
    LengthMismatch {
        /// Length with header, by the header.
        header: u64,
        /// Length with header, by the index.
        index: u64,
    },
}

/// A parsed length header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// Bytes of the header itself.
    pub header_length: usize,
    /// Bytes of stored content that follow.
    pub stored_length: usize,
    /// Whether the content is zstd-compressed.
    pub compressed: bool,
}

impl BlobHeader {
    /// Bytes of header and content together.
    pub fn total_length(&self) -> usize {
        self.header_length + self.stored_length
    }

    /// Parses the header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<BlobHeader, BlobError> {
        let first = *bytes.first().ok_or(BlobError::Truncated { needed: 1 })?;
        if first < 0x80 {
            let stored_length = usize::from(first);
            return Ok(BlobHeader { header_length: 1, stored_length, compressed: false });
        }
        let truncated = || BlobError::Truncated { needed: 4 - bytes.len() };
        let word = bytes.first_chunk().ok_or_else(truncated)?;
        let stored_length = u32::from_be_bytes(*word) as usize & MAX_BLOB_SIZE;
        let compressed = match first >> 4 {
            CODE_PLAIN => false,
            CODE_ZSTD => true,
            other => return Err(BlobError::UnknownCompression(other)),
        };
        Ok(BlobHeader { header_length: 4, stored_length, compressed })
    }
}

/// Appends `content` as a blob.
pub fn encode(
    content: &[u8],
    compression: Compression,
    out: &mut Vec<u8>,
) -> Result<(), BlobError> {
    if content.len() > MAX_BLOB_SIZE {
        return Err(BlobError::TooLarge(content.len()));
    }
    if content.len() < SHORT_LIMIT {
        out.push(content.len() as u8);
        out.extend_from_slice(content);
        return Ok(());
    }
    let packed = match compression {
        Compression::None => None,
        // A compressor that fails leaves us with the original, which is always right.
        Compression::Zstd(level) => zstd::bulk::compress(content, level).ok(),
    };
    let (code, stored) = match &packed {
        Some(packed) if packed.len() < content.len() => (CODE_ZSTD, packed.as_slice()),
        _ => (CODE_PLAIN, content),
    };
    let header = stored.len() as u32 | u32::from(code) << 28;
    out.extend_from_slice(&header.to_be_bytes());
    out.extend_from_slice(stored);
    Ok(())
}

/// Takes the blob that fills `bytes` exactly, sharing its memory unless it is compressed.
pub fn decode(bytes: &Bytes) -> Result<Bytes, BlobError> {
    let header = BlobHeader::parse(bytes)?;
    if bytes.len() < header.total_length() {
        return Err(BlobError::Truncated { needed: header.total_length() - bytes.len() });
    }
    if bytes.len() > header.total_length() {
        let (header, index) = (header.total_length() as u64, bytes.len() as u64);
        return Err(BlobError::LengthMismatch { header, index });
    }
    let stored = bytes.slice(header.header_length..);
    if header.compressed { decompress(&stored) } else { Ok(stored) }
}

fn decompress(stored: &[u8]) -> Result<Bytes, BlobError> {
    use std::io::Read;
    let mut content = Vec::new();
    // The limit keeps a corrupt file from filling memory.
    let limit = MAX_BLOB_SIZE as u64 + 1;
    let decoder = zstd::stream::read::Decoder::new(stored).map_err(BlobError::Decompress)?;
    decoder.take(limit).read_to_end(&mut content).map_err(BlobError::Decompress)?;
    if content.len() > MAX_BLOB_SIZE {
        return Err(BlobError::TooLarge(content.len()));
    }
    Ok(content.into())
}

#[cfg(test)]
mod tests;
