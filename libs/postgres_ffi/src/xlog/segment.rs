//! WAL segment files: their names, and the generated beginning of a segment.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;

use super::page_header::{PageHeader, TIMELINE_ID, encode_page_header};
use super::{WalIdentity, XLOG_BLCKSZ};
use crate::WAL_SEGMENT_SIZE;

/// Segments per "log" of 4 GiB, the middle part of a file name.
const SEGMENTS_PER_LOG: u64 = (1 << 32) / WAL_SEGMENT_SIZE as u64;
const FILE_NAME_LENGTH: usize = 24;

/// The suffix of a segment file that is not full yet.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// The file name of a segment on timeline 1.
pub fn segment_file_name(segment: u64) -> String {
    let (log, part) = (segment / SEGMENTS_PER_LOG, segment % SEGMENTS_PER_LOG);
    format!("{TIMELINE_ID:08X}{log:08X}{part:08X}")
}

/// The file name of an unfinished segment on timeline 1.
pub fn partial_segment_file_name(segment: u64) -> String {
    segment_file_name(segment) + PARTIAL_SUFFIX
}

/// The segment number of a file of timeline 1, and whether the name says it is unfinished.
pub fn parse_segment_file_name(name: &str) -> Option<(u64, bool)> {
    let (digits, partial) = match name.strip_suffix(PARTIAL_SUFFIX) {
        Some(digits) => (digits, true),
        None => (name, false),
    };
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'A'..=b'F'));
    if digits.len() != FILE_NAME_LENGTH || !hexadecimal {
        return None;
    }
    let part = |range| u32::from_str_radix(digits.get(range)?, 16).ok().map(u64::from);
    let (timeline, log, segment) = (part(0..8)?, part(8..16)?, part(16..24)?);
    let valid = timeline == u64::from(TIMELINE_ID) && segment < SEGMENTS_PER_LOG;
    valid.then_some((log * SEGMENTS_PER_LOG + segment, partial))
}

/// A whole segment that is zero except for what a writer needs to go on at `lsn`: the segment's
/// header, and that of `lsn`'s page. They pretend that a record ends exactly at `lsn`.
///
/// A position inside a page header cannot be the end of a record and is treated as the header's
/// end.
pub fn segment_start_image(identity: WalIdentity, lsn: Lsn) -> Vec<u8> {
    let mut image = vec![0; WAL_SEGMENT_SIZE];
    let segment_start = Lsn(lsn.0 - lsn.segment_offset(WAL_SEGMENT_SIZE as u64));
    let page_start = lsn.page_start();
    for start in [segment_start, page_start] {
        let remaining_length = if start == page_start {
            (lsn.page_offset() as usize).saturating_sub(PageHeader::size_at(start))
        } else {
            0
        };
        let header = encode_page_header(identity, start, remaining_length as u32, 0);
        let offset = start.segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
        image.iter_mut().skip(offset).zip(&header).for_each(|(byte, new)| *byte = *new);
    }
    image
}

/// Bytes from `lsn` to the end of its WAL page.
pub fn remaining_in_page(lsn: Lsn) -> usize {
    XLOG_BLCKSZ - lsn.page_offset() as usize
}

#[cfg(test)]
mod tests;
