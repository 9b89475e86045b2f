//! The page request protocol: what travels inside the CopyData messages of a `pagestream`.
//!
//! One request per message, one response per request, in order. Layouts: docs/formats/pagestream.md.
//! Integers are big-endian. Parsing never panics.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, Oid, RelTag};
use utils::Lsn;

/// How requests are encoded. Responses are the same in both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// One LSN, and whether the newest version is wanted.
    V1,
    /// The LSN of the request, and since when the page is known not to have changed.
    V2,
}

/// A request for something as of an LSN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagestreamRequest {
    /// The version wanted; [`Lsn::MAX`] for the newest.
    pub request_lsn: Lsn,
    /// The caller knows that nothing changed between here and `request_lsn`.
    pub not_modified_since: Lsn,
    /// What is wanted.
    pub body: RequestBody,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// Whether a relation fork exists.
    Exists(RelTag),
    /// The size of a relation fork in blocks.
    Nblocks(RelTag),
    /// One page.
    GetPage(RelTag, BlockNumber),
    /// The size of a database in bytes.
    DbSize(Oid),
    /// A whole SLRU segment.
    GetSlruSegment {
        /// Number of the SLRU, not necessarily a known one.
        kind: u8,
        /// Number of the segment.
        segment: u32,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagestreamResponse {
    /// Whether the fork exists.
    Exists(bool),
    /// Its size in blocks.
    Nblocks(BlockNumber),
    /// The page.
    GetPage(Bytes),
    /// The request failed; the text is for the user.
    Error(String),
    /// The size in bytes.
    DbSize(i64),
    /// The blocks of the segment, one after the other.
    GetSlruSegment(Bytes),
}

/// A message is not of the protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PagestreamError {
    /// The message ends early.
    #[error("page request message ends too early: {0}")]
    Truncated(#[from] TryGetError),
    /// The first byte names no message.
    #[error("unknown smgr message tag: {0}")]
    UnknownTag(u8),
    /// The fork number is not one.
    #[error("unknown fork number {0} in page request")]
    UnknownFork(u8),
    /// A response has an impossible content.
    #[error("malformed page response: {0}")]
    Malformed(&'static str),
}

mod tag {
    pub const EXISTS: u8 = 0;
    pub const NBLOCKS: u8 = 1;
    pub const GET_PAGE: u8 = 2;
    pub const DB_SIZE: u8 = 3;
    pub const GET_SLRU_SEGMENT: u8 = 4;
    pub const EXISTS_RESPONSE: u8 = 100;
    pub const NBLOCKS_RESPONSE: u8 = 101;
    pub const GET_PAGE_RESPONSE: u8 = 102;
    pub const ERROR_RESPONSE: u8 = 103;
    pub const DB_SIZE_RESPONSE: u8 = 104;
    pub const GET_SLRU_SEGMENT_RESPONSE: u8 = 105;
}

impl PagestreamRequest {
    /// Reads a request. Bytes after it are ignored.
    pub fn parse(message: &[u8], version: ProtocolVersion) -> Result<Self, PagestreamError> {
        let mut rest = message;
        let tag = rest.try_get_u8()?;
        let (request_lsn, not_modified_since) = match version {
            ProtocolVersion::V1 => {
                let latest = rest.try_get_u8()? != 0;
                let lsn = Lsn(rest.try_get_u64()?);
                (if latest { Lsn::MAX } else { lsn }, lsn)
            }
            ProtocolVersion::V2 => (Lsn(rest.try_get_u64()?), Lsn(rest.try_get_u64()?)),
        };
        let body = RequestBody::parse(tag, &mut rest)?;
        Ok(PagestreamRequest { request_lsn, not_modified_since, body })
    }

    /// The request in version 2.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(40);
        out.put_u8(self.body.tag());
        out.put_u64(self.request_lsn.0);
        out.put_u64(self.not_modified_since.0);
        match &self.body {
            RequestBody::Exists(rel) | RequestBody::Nblocks(rel) => put_rel(&mut out, *rel),
            RequestBody::GetPage(rel, block) => {
                put_rel(&mut out, *rel);
                out.put_u32(*block);
            }
            RequestBody::DbSize(dbnode) => out.put_u32(*dbnode),
            RequestBody::GetSlruSegment { kind, segment } => {
                out.put_u8(*kind);
                out.put_u32(*segment);
            }
        }
        out.freeze()
    }
}

impl RequestBody {
    fn tag(&self) -> u8 {
        match self {
            RequestBody::Exists(_) => tag::EXISTS,
            RequestBody::Nblocks(_) => tag::NBLOCKS,
            RequestBody::GetPage(..) => tag::GET_PAGE,
            RequestBody::DbSize(_) => tag::DB_SIZE,
            RequestBody::GetSlruSegment { .. } => tag::GET_SLRU_SEGMENT,
        }
    }

    fn parse(tag: u8, rest: &mut &[u8]) -> Result<Self, PagestreamError> {
        Ok(match tag {
            tag::EXISTS => RequestBody::Exists(get_rel(rest)?),
            tag::NBLOCKS => RequestBody::Nblocks(get_rel(rest)?),
            tag::GET_PAGE => RequestBody::GetPage(get_rel(rest)?, rest.try_get_u32()?),
            tag::DB_SIZE => RequestBody::DbSize(rest.try_get_u32()?),
            tag::GET_SLRU_SEGMENT => RequestBody::GetSlruSegment {
                kind: rest.try_get_u8()?,
                segment: rest.try_get_u32()?,
            },
            unknown => return Err(PagestreamError::UnknownTag(unknown)),
        })
    }
}

impl PagestreamResponse {
    /// The response's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            PagestreamResponse::Exists(exists) => {
                out.put_u8(tag::EXISTS_RESPONSE);
                out.put_u8(u8::from(*exists));
            }
            PagestreamResponse::Nblocks(blocks) => {
                out.put_u8(tag::NBLOCKS_RESPONSE);
                out.put_u32(*blocks);
            }
            PagestreamResponse::GetPage(page) => {
                out.reserve(1 + page.len());
                out.put_u8(tag::GET_PAGE_RESPONSE);
                out.put_slice(page);
            }
            PagestreamResponse::Error(text) => {
                out.put_u8(tag::ERROR_RESPONSE);
                out.put_slice(text.as_bytes());
                out.put_u8(0);
            }
            PagestreamResponse::DbSize(bytes) => {
                out.put_u8(tag::DB_SIZE_RESPONSE);
                out.put_i64(*bytes);
            }
            PagestreamResponse::GetSlruSegment(segment) => {
                out.reserve(5 + segment.len());
                out.put_u8(tag::GET_SLRU_SEGMENT_RESPONSE);
                out.put_u32((segment.len() / BLCKSZ) as u32);
                out.put_slice(segment);
            }
        }
        out.freeze()
    }

    /// Reads a response.
    pub fn parse(message: &[u8]) -> Result<Self, PagestreamError> {
        let mut rest = message;
        Ok(match rest.try_get_u8()? {
            tag::EXISTS_RESPONSE => PagestreamResponse::Exists(rest.try_get_u8()? != 0),
            tag::NBLOCKS_RESPONSE => PagestreamResponse::Nblocks(rest.try_get_u32()?),
            tag::GET_PAGE_RESPONSE if rest.len() == BLCKSZ => {
                PagestreamResponse::GetPage(Bytes::copy_from_slice(rest))
            }
            tag::GET_PAGE_RESPONSE => return Err(PagestreamError::Malformed("page length")),
            tag::ERROR_RESPONSE => {
                let text = rest.strip_suffix(&[0]).unwrap_or(rest);
                PagestreamResponse::Error(String::from_utf8_lossy(text).into_owned())
            }
            tag::DB_SIZE_RESPONSE => PagestreamResponse::DbSize(rest.try_get_i64()?),
            tag::GET_SLRU_SEGMENT_RESPONSE => {
                if rest.try_get_u32()? as usize * BLCKSZ != rest.len() {
                    return Err(PagestreamError::Malformed("segment length"));
                }
                PagestreamResponse::GetSlruSegment(Bytes::copy_from_slice(rest))
            }
            unknown => return Err(PagestreamError::UnknownTag(unknown)),
        })
    }
}

fn put_rel(out: &mut BytesMut, rel: RelTag) {
    out.put_u32(rel.spcnode);
    out.put_u32(rel.dbnode);
    out.put_u32(rel.relnode);
    out.put_u8(rel.fork as u8);
}

fn get_rel(rest: &mut &[u8]) -> Result<RelTag, PagestreamError> {
    let (spcnode, dbnode, relnode) =
        (rest.try_get_u32()?, rest.try_get_u32()?, rest.try_get_u32()?);
    let fork = rest.try_get_u8()?;
    let fork = ForkNumber::from_u8(fork).ok_or(PagestreamError::UnknownFork(fork))?;
    Ok(RelTag { spcnode, dbnode, relnode, fork })
}

#[cfg(test)]
mod tests;
