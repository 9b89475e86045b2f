//! Key ranges as one shard sees them: how many of their pages are ours, and how to cut them
//! into pieces of a wanted size.

use std::ops::Range;

use crate::key::Key;
use crate::shard::ShardIdentity;

use super::{KeySpace, SIZE_UNKNOWN, contiguous_range_len, is_contiguous_range, is_single_key};

/// Bytes per page.
const PAGE_SIZE_BYTES: u64 = 8192;

/// A key range together with the shard that looks at it.
#[derive(Clone, Debug)]
pub struct ShardedRange<'a> {
    /// The range.
    pub range: Range<Key>,
    /// The shard.
    pub shard: &'a ShardIdentity,
}

impl<'a> ShardedRange<'a> {
    /// Joins the two.
    pub fn new(range: Range<Key>, shard: &'a ShardIdentity) -> Self {
        ShardedRange { range, shard }
    }

    /// Number of the range's pages that live on this shard; [`SIZE_UNKNOWN`] when the range
    /// spans several objects.
    pub fn page_count(&self) -> u32 {
        if is_single_key(&self.range) {
            return u32::from(!self.shard.is_key_disposable(&self.range.start));
        }
        if !is_contiguous_range(&self.range) {
            return SIZE_UNKNOWN;
        }
        if self.shard.count.0 < 2 {
            return contiguous_range_len(&self.range);
        }
        let mut pages = 0u32;
        let mut cursor = self.range.start;
        while cursor < self.range.end {
            let step = self.distance_to_boundary(cursor);
            if !self.shard.is_key_disposable(&cursor) {
                pages = pages.saturating_add(step);
            }
            cursor = advance(cursor, step);
        }
        pages
    }

    /// Keys from `key` to where the owning shard may change, or to the end of the range.
    /// Only defined for contiguous ranges.
    fn distance_to_boundary(&self, key: Key) -> u32 {
        let remainder = contiguous_range_len(&(key..self.range.end));
        if self.shard.count.0 < 2 {
            return remainder;
        }
        if key.field6 == u32::MAX {
            return 1;
        }
        let stripe_size = self.shard.stripe_size;
        remainder.min(stripe_size - key.field6 % stripe_size)
    }

    /// Cuts the range into pieces of about `target_pages` local pages each; the first number is
    /// the count of local pages in the piece. Ranges that cannot be cut come out whole.
    pub fn fragment(self, target_pages: u32) -> Vec<(u32, Range<Key>)> {
        if self.range.start >= self.range.end {
            return Vec::new();
        }
        if is_single_key(&self.range) || !is_contiguous_range(&self.range) {
            return vec![(self.page_count(), self.range)];
        }
        let target = target_pages.max(1);
        let mut pieces: Vec<(u32, Range<Key>)> = Vec::new();
        let mut cursor = self.range.start;
        while cursor < self.range.end {
            let disposable = self.shard.is_key_disposable(&cursor);
            let last_has_room = pieces.last().is_some_and(|(pages, _)| *pages < target);
            let wanted = match pieces.last() {
                Some((pages, _)) if last_has_room => target - pages,
                Some(_) | None => target,
            };
            let mut step = self.distance_to_boundary(cursor);
            if !disposable {
                step = step.min(wanted);
            }
            let pages = if disposable { 0 } else { step };
            let next = advance(cursor, step);
            match pieces.last_mut() {
                Some((sum, range)) if last_has_room || disposable => {
                    *sum += pages;
                    range.end = next;
                }
                Some(_) | None => pieces.push((pages, cursor..next)),
            }
            cursor = next;
        }
        pieces
    }
}

/// The key `keys` places further within one object; a size key steps to the next fork.
fn advance(key: Key, keys: u32) -> Key {
    if key.field6 == u32::MAX {
        let next = key.next();
        Key { field6: next.field6 + keys.saturating_sub(1), ..next }
    } else {
        Key { field6: key.field6.saturating_add(keys), ..key }
    }
}

impl KeySpace {
    /// Cuts the set into parts of about `target_size_bytes` of local pages each.
    pub fn partition(&self, shard: &ShardIdentity, target_size_bytes: u64) -> Vec<KeySpace> {
        let target_pages = (target_size_bytes / PAGE_SIZE_BYTES).min(u64::from(u32::MAX)) as u32;
        let mut parts = Vec::new();
        let mut current: Vec<Range<Key>> = Vec::new();
        let mut current_pages = 0u64;
        for range in &self.ranges {
            for (pages, piece) in ShardedRange::new(range.clone(), shard).fragment(target_pages) {
                let sum = current_pages + u64::from(pages);
                if current_pages > 0 && sum > u64::from(target_pages) {
                    parts.push(KeySpace { ranges: std::mem::take(&mut current) });
                    current_pages = 0;
                }
                current_pages += u64::from(pages);
                match current.last_mut() {
                    Some(last) if last.end == piece.start => last.end = piece.end,
                    Some(_) | None => current.push(piece),
                }
            }
        }
        if !current.is_empty() {
            parts.push(KeySpace { ranges: current });
        }
        parts
    }
}
