//! Lays records on WAL pages: headers, splits over pages and segments, padding.

use utils::Lsn;

use super::WalIdentity;
use super::page_header::{XLP_FIRST_IS_OVERWRITE_CONTRECORD, encode_page_header};
use super::record::RawRecord;
use super::segment::remaining_in_page;
use crate::WAL_SEGMENT_SIZE;

/// WAL under construction: bytes from a start position on, as PostgreSQL would write them.
#[derive(Clone, Debug)]
pub struct WalBuilder {
    identity: WalIdentity,
    start: Lsn,
    prev: Lsn,
    bytes: Vec<u8>,
}

impl WalBuilder {
    /// Starts at `start`, which must be the end of a record (8-byte aligned; a page boundary
    /// gets that page's header first). `prev` is the start of the record before, or 0.
    pub fn new(identity: WalIdentity, start: Lsn, prev: Lsn) -> WalBuilder {
        WalBuilder { identity, start: start.align(), prev, bytes: Vec::new() }
    }

    /// Where the next byte goes: the end of the last record, rounded up to 8.
    pub fn lsn(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }

    /// Start of the last record.
    pub fn prev(&self) -> Lsn {
        self.prev
    }

    /// Everything built, from the start position on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything built, from the start position on.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends a record and returns where it starts. A switch record also fills its segment.
    pub fn append(&mut self, record: &RawRecord) -> Lsn {
        self.begin_page(0, 0);
        let record_start = self.lsn();
        let bytes = record.to_bytes(self.prev);
        let mut rest = bytes.as_slice();
        loop {
            let (now, later) = rest.split_at(rest.len().min(remaining_in_page(self.lsn())));
            self.bytes.extend_from_slice(now);
            if later.is_empty() {
                break;
            }
            rest = later;
            self.begin_page(rest.len() as u32, 0);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.prev = record_start;
        if *record == RawRecord::switch() {
            self.fill_segment();
        }
        record_start
    }

    /// Writes only the first part of a record, up to a page end, then abandons it: the next
    /// page says that it overwrites the continuation. Returns whether the record was long
    /// enough to reach the page end; nothing is written if not.
    pub fn append_abandoned(&mut self, record: &RawRecord) -> bool {
        self.begin_page(0, 0);
        let bytes = record.to_bytes(self.prev);
        let room = remaining_in_page(self.lsn());
        if bytes.len() <= room {
            return false;
        }
        self.bytes.extend_from_slice(bytes.split_at(room).0);
        self.begin_page(0, XLP_FIRST_IS_OVERWRITE_CONTRECORD);
        true
    }

    fn begin_page(&mut self, remaining_length: u32, flags: u16) {
        let lsn = self.lsn();
        if lsn.page_offset() == 0 {
            let header = encode_page_header(self.identity, lsn, remaining_length, flags);
            self.bytes.extend_from_slice(&header);
        }
    }

    fn fill_segment(&mut self) {
        let offset = self.lsn().segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
        if offset > 0 {
            self.bytes.resize(self.bytes.len() + WAL_SEGMENT_SIZE - offset, 0);
        }
    }
}

#[cfg(test)]
mod tests;
