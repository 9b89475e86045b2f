//! Where transactions and multixacts live in the SLRUs: pages, segments and positions.
//!
//! All arithmetic is on 32-bit circles, as PostgreSQL's is.

use crate::{BLCKSZ, SlruKind};

/// Pages per SLRU segment file.
pub const SLRU_PAGES_PER_SEGMENT: u32 = 32;
/// Transactions per commit-log byte.
pub const CLOG_XACTS_PER_BYTE: u32 = 4;
/// Transactions per commit-log page.
pub const CLOG_XACTS_PER_PAGE: u32 = BLCKSZ as u32 * CLOG_XACTS_PER_BYTE;
/// Multixacts per offsets page.
pub const MULTIXACT_OFFSETS_PER_PAGE: u32 = BLCKSZ as u32 / 4;
/// Members per group: four status bytes, then four transaction ids.
pub const MULTIXACT_MEMBERS_PER_GROUP: u32 = 4;
/// Bytes of a group of members.
pub const MULTIXACT_MEMBER_GROUP_SIZE: u32 = 20;
/// Groups per members page; 12 bytes at the end stay unused.
pub const MULTIXACT_GROUPS_PER_PAGE: u32 = BLCKSZ as u32 / MULTIXACT_MEMBER_GROUP_SIZE;
/// Members per members page.
pub const MULTIXACT_MEMBERS_PER_PAGE: u32 = MULTIXACT_GROUPS_PER_PAGE * MULTIXACT_MEMBERS_PER_GROUP;
/// The last segment of the members SLRU: its position numbers end at 2^32.
pub const MAX_MEMBERS_SEGMENT: u32 = u32::MAX / MULTIXACT_MEMBERS_PER_PAGE / SLRU_PAGES_PER_SEGMENT;

/// Bytes of a transaction's commit timestamp: the time as i64, the replication origin as u16.
pub const COMMIT_TS_ENTRY_SIZE: u32 = 10;
/// Transactions per commit timestamp page; 2 bytes at the end stay unused.
pub const COMMIT_TS_XACTS_PER_PAGE: u32 = BLCKSZ as u32 / COMMIT_TS_ENTRY_SIZE;

/// The two transaction outcomes a commit-log entry can record besides "in progress".
pub const CLOG_COMMITTED: u8 = 1;
/// See [`CLOG_COMMITTED`].
pub const CLOG_ABORTED: u8 = 2;

/// A page of an SLRU: which segment file, which block in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlruPage {
    /// Segment number.
    pub segment: u32,
    /// Block in the segment, below 32.
    pub block: u32,
}

/// Splits an absolute page number.
pub const fn slru_page(page: u32) -> SlruPage {
    SlruPage { segment: page / SLRU_PAGES_PER_SEGMENT, block: page % SLRU_PAGES_PER_SEGMENT }
}

/// The commit-log page of a transaction.
pub const fn clog_page(xid: u32) -> u32 {
    xid / CLOG_XACTS_PER_PAGE
}

/// The commit timestamp page of a transaction.
pub const fn commit_ts_page(xid: u32) -> u32 {
    xid / COMMIT_TS_XACTS_PER_PAGE
}

/// The commit timestamp pages of the transactions from `first` to `last`, in their order on the
/// circle.
pub fn commit_ts_pages(first: u32, last: u32) -> impl Iterator<Item = u32> {
    const LAST_PAGE: u32 = commit_ts_page(u32::MAX);
    let end = commit_ts_page(last);
    std::iter::successors(Some(commit_ts_page(first)), move |page| match *page {
        page if page == end => None,
        LAST_PAGE => Some(0),
        page => Some(page + 1),
    })
}

/// The offsets page of a multixact.
pub const fn multixact_offsets_page(multixact: u32) -> u32 {
    multixact / MULTIXACT_OFFSETS_PER_PAGE
}

/// The members page of a member position.
pub const fn multixact_members_page(offset: u32) -> u32 {
    offset / MULTIXACT_MEMBERS_PER_PAGE
}

/// The members segment of a member position.
pub const fn multixact_members_segment(offset: u32) -> u32 {
    multixact_members_page(offset) / SLRU_PAGES_PER_SEGMENT
}

/// The multixact after this one; 0 is never used.
pub const fn next_multixact(multixact: u32) -> u32 {
    match multixact.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Whether transaction `a` is older than `b`. Reserved ids are older than all others.
pub const fn xid_precedes(a: u32, b: u32) -> bool {
    if a < 3 || b < 3 { a < b } else { (a.wrapping_sub(b) as i32) < 0 }
}

/// Whether every transaction of page `a` is older than those of page `b`, in an SLRU with so many
/// per page.
const fn page_precedes(a: u32, b: u32, xacts_per_page: u32) -> bool {
    let first_a = a.wrapping_mul(xacts_per_page).wrapping_add(4);
    let first_b = b.wrapping_mul(xacts_per_page).wrapping_add(4);
    let last_b = first_b.wrapping_add(xacts_per_page - 1);
    xid_precedes(first_a, first_b) && xid_precedes(first_a, last_b)
}

const fn segment_may_go(segment: u32, cutoff_page: u32, xacts_per_page: u32) -> bool {
    let first = segment.wrapping_mul(SLRU_PAGES_PER_SEGMENT);
    let last = first.wrapping_add(SLRU_PAGES_PER_SEGMENT - 1);
    page_precedes(first, cutoff_page, xacts_per_page)
        && page_precedes(last, cutoff_page, xacts_per_page)
}

/// Whether every transaction of commit-log page `a` is older than those of page `b`.
pub const fn clog_page_precedes(a: u32, b: u32) -> bool {
    page_precedes(a, b, CLOG_XACTS_PER_PAGE)
}

/// Whether commit-log segment `segment` holds only pages older than `cutoff_page`.
pub const fn clog_segment_may_go(segment: u32, cutoff_page: u32) -> bool {
    segment_may_go(segment, cutoff_page, CLOG_XACTS_PER_PAGE)
}

/// Whether commit timestamp segment `segment` holds only pages older than `cutoff_page`.
pub const fn commit_ts_segment_may_go(segment: u32, cutoff_page: u32) -> bool {
    segment_may_go(segment, cutoff_page, COMMIT_TS_XACTS_PER_PAGE)
}

/// The file name of a segment: hexadecimal, at least four digits.
pub fn slru_segment_file_name(segment: u32) -> String {
    format!("{segment:04X}")
}

/// The segment a file of this SLRU's directory holds, if the name is a segment's.
pub fn parse_slru_segment_file_name(name: &str) -> Option<u32> {
    let hexadecimal = name.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'A'..=b'F'));
    // PostgreSQL 17 knows names of 15 digits for SLRUs that none of ours is.
    let plausible = (4..=8).contains(&name.len()) && hexadecimal;
    plausible.then(|| u32::from_str_radix(name, 16).ok()).flatten()
}

/// Bytes a page of this kind may have: a commit-log page may carry an 8-byte time at its end.
pub const fn is_valid_slru_page_length(kind: SlruKind, length: usize) -> bool {
    length == BLCKSZ || (matches!(kind, SlruKind::Clog) && length == BLCKSZ + 8)
}

#[cfg(test)]
mod tests;
