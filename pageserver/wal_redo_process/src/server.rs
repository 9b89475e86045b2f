//! The side of the protocol that applies records: messages in, pages out.
//!
//! One request at a time, no state beyond the page at hand. Any error ends the process: what the
//! client sees is a closed pipe, and it starts another one.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use postgres_ffi::{BLCKSZ, PgMajor};
use utils::Lsn;
use wal_decoder::record::{RecordDecodeError, decode};
use wal_redo::RedoError;

use crate::protocol::{Message, PageTag, ProtocolError, take_message};

/// Least room to read into at once.
const READ_BYTES: usize = 64 * 1024;

/// Why the process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client sent something else than messages.
    #[error("malformed request: {0}")]
    Protocol(#[from] ProtocolError),
    /// The client closed the pipe inside a message.
    #[error("unexpected end of input: {0} bytes of an incomplete message")]
    IncompleteMessage(usize),
    /// A message needs a request to be begun first.
    #[error("message {0} without a page having been begun")]
    NothingBegun(&'static str),
    /// A message names another page than the one begun.
    #[error("message {message} names block {named:?}, but {begun:?} was begun")]
    OtherPage {
        /// The message.
        message: &'static str,
        /// The page it names.
        named: Box<PageTag>,
        /// The page of the request.
        begun: Box<PageTag>,
    },
    /// A record cannot be taken apart.
    #[error("the record that ends at {lsn} cannot be decoded: {source}")]
    Decode {
        /// Where it ends.
        lsn: Lsn,
        /// What is wrong with it.
        source: RecordDecodeError,
    },
    /// A record cannot be applied.
    #[error(transparent)]
    Redo(#[from] RedoError),
    /// A pipe failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The page being worked on.
struct Request {
    tag: PageTag,
    page: Box<[u8; BLCKSZ]>,
}

/// Serves requests until the input ends between two messages.
pub fn serve(
    mut input: impl Read,
    mut output: impl Write,
    major: PgMajor,
) -> Result<(), ServeError> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut request: Option<Request> = None;
    loop {
        while let Some(message) = take_message(&mut buffer)? {
            if let Some(reply) = handle(message, &mut request, major)? {
                let failed = |source| ServeError::Io { what: "send a page", source };
                output.write_all(&reply).and_then(|()| output.flush()).map_err(failed)?;
            }
        }
        if !read_more(&mut input, &mut buffer)? {
            let incomplete = buffer.len();
            return match incomplete {
                0 => Ok(()),
                _ => Err(ServeError::IncompleteMessage(incomplete)),
            };
        }
    }
}

/// Appends what the pipe holds; false at its end.
fn read_more(input: &mut impl Read, buffer: &mut BytesMut) -> Result<bool, ServeError> {
    let filled = buffer.len();
    let room = READ_BYTES.max(buffer.capacity() - filled);
    buffer.resize(filled + room, 0);
    let read = loop {
        match input.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    let failed = |source| ServeError::Io { what: "read requests", source };
    let read = read.map_err(failed);
    buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
    read.map(|read| read > 0)
}

/// Does what a message asks for; returns the page to send, if it asks for one.
fn handle(
    message: Message,
    request: &mut Option<Request>,
    major: PgMajor,
) -> Result<Option<Bytes>, ServeError> {
    match message {
        Message::Begin(tag) => {
            match request {
                Some(request) => {
                    request.tag = tag;
                    request.page.fill(0);
                }
                None => *request = Some(Request { tag, page: Box::new([0; BLCKSZ]) }),
            }
            Ok(None)
        }
        Message::PushPage(tag, page) => {
            let request = begun(request, "P", Some(tag))?;
            // The length was checked when the message was parsed.
            request.page.copy_from_slice(&page);
            Ok(None)
        }
        Message::ApplyRecord(lsn, raw) => {
            let request = begun(request, "A", None)?;
            let record =
                decode(&raw, major).map_err(|source| ServeError::Decode { lsn, source })?;
            let PageTag { rel, block } = request.tag;
            wal_redo::redo_record(&mut request.page, rel, block, &record, lsn, major)?;
            Ok(None)
        }
        Message::GetPage(tag) => {
            let request = begun(request, "G", Some(tag))?;
            Ok(Some(Bytes::copy_from_slice(request.page.as_slice())))
        }
        Message::Ping(page) => Ok(Some(page)),
    }
}

/// The request at hand, which must be about `named`.
fn begun<'a>(
    request: &'a mut Option<Request>,
    message: &'static str,
    named: Option<PageTag>,
) -> Result<&'a mut Request, ServeError> {
    let request = request.as_mut().ok_or(ServeError::NothingBegun(message))?;
    match named.filter(|named| *named != request.tag) {
        None => Ok(request),
        Some(named) => {
            let (named, begun) = (Box::new(named), Box::new(request.tag));
            Err(ServeError::OtherPage { message, named, begun })
        }
    }
}

#[cfg(test)]
mod tests;
