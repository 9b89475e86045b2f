//! Reassembles whole records from a stream of WAL bytes.
//!
//! Page headers are checked and removed, records split over pages and segments are joined,
//! CRCs are verified. Owns only its buffers: no I/O, no clock. A damaged stream is an error
//! that names the position; the decoder must not be used after one.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Buf, Bytes, BytesMut};
use postgres_ffi::xlog::record::{RECORD_HEADER_SIZE, RECORD_MAX_SIZE, RecordHeader, record_crc};
use postgres_ffi::xlog::{PageHeader, PageHeaderError};
use postgres_ffi::{PgMajor, TooShort, WAL_SEGMENT_SIZE};
use utils::Lsn;

/// A record's buffer is not reserved beyond this at once: the length could be damaged.
const MAX_RESERVATION: usize = 1 << 20;

/// Why the stream cannot be decoded further.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WalDecodeError {
    /// A page header does not fit its position.
    #[error("{source} at {lsn}")]
    PageHeader {
        /// Start of the page.
        lsn: Lsn,
        /// What is wrong.
        source: PageHeaderError,
    },
    /// A page says it continues a record, or that it does not, against what came before.
    #[error(
        "invalid xlog page header: {found} bytes continue on the page but {expected} should at {lsn}"
    )]
    Continuation {
        /// Start of the page.
        lsn: Lsn,
        /// Length the page header gives.
        found: u32,
        /// Length still missing from the record.
        expected: u32,
    },
    /// A record length is impossible.
    #[error("invalid xl_tot_len {length} at {lsn}")]
    RecordLength {
        /// Start of the record.
        lsn: Lsn,
        /// Length found.
        length: u32,
    },
    /// A record's contents do not match its CRC.
    #[error("WAL record crc mismatch (stored {stored:08X}, computed {computed:08X}) at {lsn}")]
    Crc {
        /// Start of the record.
        lsn: Lsn,
        /// CRC in the record.
        stored: u32,
        /// CRC of what the record contains.
        computed: u32,
    },
    /// A record header could not be read.
    #[error("record header is incomplete ({source}) at {lsn}")]
    RecordHeader {
        /// Start of the record.
        lsn: Lsn,
        /// What was missing.
        source: TooShort,
    },
}

/// What the decoder is in the middle of.
#[derive(Debug)]
enum State {
    /// Between records.
    Waiting,
    /// Inside a record that started at `start`; `remaining` bytes of it have not been seen.
    Reassembling { start: Lsn, collected: BytesMut, remaining: usize },
    /// Inside bytes without meaning: padding, or the rest of a switched segment.
    Skipping { until: Lsn },
}

/// What reading one page's part of a record came to.
enum Collected {
    Complete(Lsn, Bytes),
    PageEnd,
    NeedsMore,
}

/// Turns WAL bytes into records. Feed bytes, then poll until it wants more.
#[derive(Debug)]
pub struct WalStreamDecoder {
    /// Position of the first byte of `input`.
    lsn: Lsn,
    magic: u16,
    input: BytesMut,
    state: State,
    abandoned: Option<Lsn>,
}

impl WalStreamDecoder {
    /// Starts at `start`: the start of a record, or of a page on which one starts.
    pub fn new(start: Lsn, major: PgMajor) -> WalStreamDecoder {
        WalStreamDecoder {
            lsn: start,
            magic: major.xlog_page_magic(),
            input: BytesMut::new(),
            state: State::Waiting,
            abandoned: None,
        }
    }

    /// Where the next fed byte belongs.
    pub fn lsn(&self) -> Lsn {
        self.lsn + self.input.len() as u64
    }

    /// Start of the last record that was begun but later declared abandoned by the stream
    /// (a server crashed while writing it).
    pub fn last_abandoned_record(&self) -> Option<Lsn> {
        self.abandoned
    }

    /// Takes the bytes at [`WalStreamDecoder::lsn`].
    pub fn feed_bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole record and where the one after it may start, or `None` if more bytes are
    /// needed. After a switch record that place is the next segment's start.
    pub fn poll_decode(&mut self) -> Result<Option<(Lsn, Bytes)>, WalDecodeError> {
        loop {
            let progressed = match self.state {
                State::Skipping { until } => self.skip_to(until),
                _ if self.lsn.page_offset() == 0 => self.take_page_header()?,
                State::Waiting => self.begin_record()?,
                State::Reassembling { .. } => match self.collect() {
                    Collected::Complete(start, record) => {
                        return self.complete(start, record).map(Some);
                    }
                    Collected::PageEnd => true,
                    Collected::NeedsMore => false,
                },
            };
            if !progressed {
                return Ok(None);
            }
        }
    }

    /// Discards input up to `until`; false if it is not all there yet.
    fn skip_to(&mut self, until: Lsn) -> bool {
        let wanted = usize::try_from(until.saturating_sub(self.lsn)).unwrap_or(usize::MAX);
        let length = wanted.min(self.input.len());
        self.take(length);
        if length == wanted {
            self.state = State::Waiting;
        }
        length == wanted
    }

    /// Consumes the page header at the current position; false if it is not all there yet.
    fn take_page_header(&mut self) -> Result<bool, WalDecodeError> {
        let lsn = self.lsn;
        let size = PageHeader::size_at(lsn);
        if self.input.len() < size {
            return Ok(false);
        }
        let header = PageHeader::parse(&self.input, lsn, self.magic)
            .map_err(|source| WalDecodeError::PageHeader { lsn, source })?;
        if header.overwrites_continuation() {
            // The server that wrote the first part crashed; what follows is a new record.
            if let State::Reassembling { start, .. } = &self.state {
                self.abandoned = Some(*start);
                self.state = State::Waiting;
            }
        }
        let expected = match &self.state {
            State::Reassembling { remaining, .. } => *remaining as u32,
            State::Waiting | State::Skipping { .. } => 0,
        };
        let found = header.remaining_length;
        if found != expected || header.is_continuation() != (expected > 0) {
            return Err(WalDecodeError::Continuation { lsn, found, expected });
        }
        self.take(size);
        Ok(true)
    }

    /// Reads a record's length; false if it is not there yet. Lengths never straddle pages
    /// because records start at multiples of 8.
    fn begin_record(&mut self) -> Result<bool, WalDecodeError> {
        if !self.lsn.is_aligned() {
            self.state = State::Skipping { until: self.lsn.align() };
            return Ok(true);
        }
        let Some(length) = self.input.first_chunk::<4>() else {
            return Ok(false);
        };
        let (start, length) = (self.lsn, u32::from_le_bytes(*length));
        if length < RECORD_HEADER_SIZE as u32 || length > RECORD_MAX_SIZE {
            return Err(WalDecodeError::RecordLength { lsn: start, length });
        }
        let remaining = length as usize;
        self.state = State::Reassembling { start, collected: BytesMut::new(), remaining };
        Ok(true)
    }

    /// Moves the part of the record on this page out of the input, once it is all there.
    /// A record that lies on one page keeps the input's memory.
    fn collect(&mut self) -> Collected {
        let on_page = self.lsn.remaining_in_page() as usize;
        let State::Reassembling { start, collected, remaining } = &mut self.state else {
            return Collected::NeedsMore;
        };
        let length = (*remaining).min(on_page);
        if self.input.len() < length {
            return Collected::NeedsMore;
        }
        let piece = self.input.split_to(length);
        self.lsn = self.lsn + length as u64;
        *remaining -= length;
        if collected.is_empty() && *remaining == 0 {
            return Collected::Complete(*start, piece.freeze());
        }
        if collected.is_empty() {
            collected.reserve((length + *remaining).min(MAX_RESERVATION));
        }
        collected.extend_from_slice(&piece);
        if *remaining > 0 {
            return Collected::PageEnd;
        }
        Collected::Complete(*start, collected.split().freeze())
    }

    /// Verifies a record and decides where the next one may start.
    fn complete(&mut self, start: Lsn, record: Bytes) -> Result<(Lsn, Bytes), WalDecodeError> {
        let header = RecordHeader::parse(&record)
            .map_err(|source| WalDecodeError::RecordHeader { lsn: start, source })?;
        let computed = record_crc(&record);
        if header.crc != computed {
            return Err(WalDecodeError::Crc { lsn: start, stored: header.crc, computed });
        }
        let next = if header.is_switch() {
            Lsn(self.lsn.0.next_multiple_of(WAL_SEGMENT_SIZE as u64))
        } else {
            self.lsn.align()
        };
        self.state = State::Skipping { until: next };
        Ok((next, record))
    }

    fn take(&mut self, length: usize) {
        self.input.advance(length);
        self.lsn = self.lsn + length as u64;
    }
}

#[cfg(test)]
mod tests;
