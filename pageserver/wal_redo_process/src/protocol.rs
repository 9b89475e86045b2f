//! The messages of the redo protocol. Description: docs/formats/wal-redo-protocol.md.
//!
//! Owns the encoding alone: no I/O. Parsing copies nothing: bodies share the memory of the input.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, RelTag};
use utils::Lsn;

/// Begins a request: names the page that is wanted.
const BEGIN: u8 = b'B';
/// Gives the content that records are applied to.
const PUSH_PAGE: u8 = b'P';
/// Applies one WAL record.
const APPLY_RECORD: u8 = b'A';
/// Asks for the page.
const GET_PAGE: u8 = b'G';
/// Asks for the echo of a page.
const PING: u8 = b'H';

/// Tag and length word.
const HEADER_BYTES: usize = 5;
/// The length word counts itself.
const LENGTH_BYTES: usize = 4;
/// Fork, tablespace, database, relation and block.
const PAGE_TAG_BYTES: usize = 17;
const LSN_BYTES: usize = 8;
/// Longest body that is accepted: the longest record that PostgreSQL reads, and some members.
const MAX_BODY_BYTES: usize = postgres_ffi::xlog::record::RECORD_MAX_SIZE as usize + 64;

/// Names one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageTag {
    /// The relation fork.
    pub rel: RelTag,
    /// The block in it.
    pub block: BlockNumber,
}

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The page that is wanted next; forgets the one before.
    Begin(PageTag),
    /// Content of the page before the first record. Without it the page is all zeroes.
    PushPage(PageTag, Bytes),
    /// A record and where it ends.
    ApplyRecord(Lsn, Bytes),
    /// Send the page.
    GetPage(PageTag),
    /// Send this page back.
    Ping(Bytes),
}

/// Why bytes are no message.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// No message begins with this byte.
    #[error("unknown message tag {0:#04x}; known are B, P, A, G and H")]
    UnknownTag(u8),
    /// The length does not fit the kind of message.
    #[error("message {tag:?} has a body of {length} bytes")]
    BadLength {
        /// The kind of message.
        tag: char,
        /// Bytes of its body.
        length: usize,
    },
    /// No relation has this fork.
    #[error("unknown relation fork {0}")]
    UnknownFork(u8),
}

/// Encodes a whole request: begin, the base page if there is one, the records, get.
///
/// `base` must be a page; the caller has checked that.
pub fn encode_request(tag: PageTag, base: Option<&[u8]>, records: &[(Lsn, Bytes)]) -> Vec<u8> {
    let records_bytes: usize =
        records.iter().map(|(_, raw)| HEADER_BYTES + LSN_BYTES + raw.len()).sum();
    let base_bytes = base.map_or(0, |page| HEADER_BYTES + PAGE_TAG_BYTES + page.len());
    let mut request =
        Vec::with_capacity(2 * (HEADER_BYTES + PAGE_TAG_BYTES) + base_bytes + records_bytes);
    put_header(&mut request, BEGIN, PAGE_TAG_BYTES);
    put_page_tag(&mut request, tag);
    if let Some(page) = base {
        put_header(&mut request, PUSH_PAGE, PAGE_TAG_BYTES + page.len());
        put_page_tag(&mut request, tag);
        request.put_slice(page);
    }
    for (lsn, raw) in records {
        put_header(&mut request, APPLY_RECORD, LSN_BYTES + raw.len());
        request.put_u64(lsn.0);
        request.put_slice(raw);
    }
    put_header(&mut request, GET_PAGE, PAGE_TAG_BYTES);
    put_page_tag(&mut request, tag);
    request
}

/// Encodes a request for the echo of `page`.
pub fn encode_ping(page: &[u8; BLCKSZ]) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER_BYTES + BLCKSZ);
    put_header(&mut request, PING, BLCKSZ);
    request.put_slice(page);
    request
}

fn put_header(request: &mut Vec<u8>, tag: u8, body_bytes: usize) {
    request.put_u8(tag);
    // A record's length is a u32 itself, and nothing else is long.
    request.put_u32((LENGTH_BYTES + body_bytes) as u32);
}

fn put_page_tag(request: &mut Vec<u8>, tag: PageTag) {
    request.put_u8(tag.rel.fork as u8);
    for number in [tag.rel.spcnode, tag.rel.dbnode, tag.rel.relnode, tag.block] {
        request.put_u32(number);
    }
}

/// Takes the next message off the front of `input`; `None` while it is not all there.
pub fn take_message(input: &mut BytesMut) -> Result<Option<Message>, ProtocolError> {
    let Some(&[tag, length @ ..]) = input.first_chunk::<HEADER_BYTES>() else {
        // Garbage should be refused without waiting for more of it.
        return match input.first() {
            Some(tag) => check_tag(*tag).map(|()| None),
            None => Ok(None),
        };
    };
    check_tag(tag)?;
    let stated = u32::from_be_bytes(length) as usize;
    let bad_length = ProtocolError::BadLength { tag: char::from(tag), length: stated };
    let body_bytes = stated.checked_sub(LENGTH_BYTES).ok_or_else(|| bad_length.clone())?;
    if body_bytes > MAX_BODY_BYTES {
        return Err(bad_length);
    }
    if input.len() < HEADER_BYTES + body_bytes {
        input.reserve(HEADER_BYTES + body_bytes - input.len());
        return Ok(None);
    }
    input.advance(HEADER_BYTES);
    let body = input.split_to(body_bytes).freeze();
    parse_body(tag, body).map(Some)
}

fn check_tag(tag: u8) -> Result<(), ProtocolError> {
    match tag {
        BEGIN | PUSH_PAGE | APPLY_RECORD | GET_PAGE | PING => Ok(()),
        _ => Err(ProtocolError::UnknownTag(tag)),
    }
}

fn parse_body(tag: u8, mut body: Bytes) -> Result<Message, ProtocolError> {
    let length = body.len();
    let bad_length = || ProtocolError::BadLength { tag: char::from(tag), length };
    match tag {
        BEGIN if length == PAGE_TAG_BYTES => Ok(Message::Begin(parse_page_tag(&mut body)?)),
        PUSH_PAGE if length == PAGE_TAG_BYTES + BLCKSZ => {
            let tag = parse_page_tag(&mut body)?;
            Ok(Message::PushPage(tag, body))
        }
        APPLY_RECORD if length > LSN_BYTES => {
            let lsn = Lsn(body.get_u64());
            Ok(Message::ApplyRecord(lsn, body))
        }
        GET_PAGE if length == PAGE_TAG_BYTES => Ok(Message::GetPage(parse_page_tag(&mut body)?)),
        PING if length == BLCKSZ => Ok(Message::Ping(body)),
        BEGIN | PUSH_PAGE | APPLY_RECORD | GET_PAGE | PING => Err(bad_length()),
        _ => Err(ProtocolError::UnknownTag(tag)),
    }
}

/// The caller has checked the length.
fn parse_page_tag(body: &mut Bytes) -> Result<PageTag, ProtocolError> {
    let number = body.get_u8();
    let fork = ForkNumber::from_u8(number).ok_or(ProtocolError::UnknownFork(number))?;
    let (spcnode, dbnode, relnode) = (body.get_u32(), body.get_u32(), body.get_u32());
    let rel = RelTag { spcnode, dbnode, relnode, fork };
    Ok(PageTag { rel, block: body.get_u32() })
}

#[cfg(test)]
mod tests;
