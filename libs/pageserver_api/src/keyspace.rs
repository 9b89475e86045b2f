//! Sets of keys: sorted, non-overlapping ranges, and the accumulators that build them.
//!
//! Sizes here are counts of keys in the name space, not of keys that exist. How ranges are cut
//! to a size for one shard is in [`sharded`].

mod accumulator;
pub mod sharded;

use std::ops::Range;

use crate::key::Key;

pub use accumulator::{KeySpaceAccum, KeySpaceRandomAccum};
pub use sharded::ShardedRange;

/// Marks "unknown, large" where a number of keys is asked for.
pub const SIZE_UNKNOWN: u32 = u32::MAX;

/// A set of keys, kept as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySpace {
    /// The ranges, in order.
    pub ranges: Vec<Range<Key>>,
}

impl KeySpace {
    /// The set of all keys in one range; empty if the range is.
    pub fn single(range: Range<Key>) -> Self {
        let ranges = if range.start < range.end { vec![range] } else { Vec::new() };
        KeySpace { ranges }
    }

    /// A set of individual keys, in any order.
    pub fn from_keys(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut accumulator = KeySpaceRandomAccum::default();
        for key in keys {
            accumulator.add_key(key);
        }
        accumulator.into_keyspace()
    }

    /// Whether no key is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The smallest key.
    pub fn start(&self) -> Option<Key> {
        self.ranges.first().map(|range| range.start)
    }

    /// The key after the greatest one.
    pub fn end(&self) -> Option<Key> {
        self.ranges.last().map(|range| range.end)
    }

    /// Sum of the ranges' sizes in keys, saturating; [`SIZE_UNKNOWN`] counts as itself.
    pub fn total_raw_size(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(raw_size(range))).sum()
    }

    /// Whether the key is in the set.
    pub fn contains(&self, key: &Key) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= *key);
        self.ranges.get(at).is_some_and(|range| range.start <= *key)
    }

    /// Whether some key of the range is in the set.
    pub fn overlaps(&self, wanted: &Range<Key>) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= wanted.start);
        wanted.start < wanted.end
            && self.ranges.get(at).is_some_and(|range| range.start < wanted.end)
    }

    /// The keys that are in both sets.
    pub fn intersection(&self, other: &KeySpace) -> KeySpace {
        let mut accumulator = KeySpaceAccum::default();
        let (mut left, mut right) = (self.ranges.iter(), other.ranges.iter());
        let (mut a, mut b) = (left.next(), right.next());
        while let (Some(one), Some(two)) = (a, b) {
            accumulator.add_range(one.start.max(two.start)..one.end.min(two.end));
            if one.end <= two.end {
                a = left.next();
            } else {
                b = right.next();
            }
        }
        accumulator.into_keyspace()
    }

    /// Adds every key of `other`.
    pub fn merge(&mut self, other: &KeySpace) {
        let mut accumulator = KeySpaceRandomAccum::default();
        for range in self.ranges.drain(..).chain(other.ranges.iter().cloned()) {
            accumulator.add_range(range);
        }
        *self = accumulator.into_keyspace();
    }

    /// Removes every key of `other`; returns the keys that were in both.
    pub fn remove_overlapping_with(&mut self, other: &KeySpace) -> KeySpace {
        let removed = self.intersection(other);
        let mut kept = KeySpaceAccum::default();
        let mut holes = removed.ranges.iter().peekable();
        for range in &self.ranges {
            let mut start = range.start;
            while let Some(hole) = holes.next_if(|hole| hole.start < range.end) {
                kept.add_range(start..hole.start);
                start = hole.end;
            }
            kept.add_range(start..range.end);
        }
        *self = kept.into_keyspace();
        removed
    }
}

/// Whether all keys of the range differ only in their block number, so that its size is known.
pub fn is_contiguous_range(range: &Range<Key>) -> bool {
    let (start, end) = (&range.start, &range.end);
    let same_object = (start.field1, start.field2, start.field3, start.field4)
        == (end.field1, end.field2, end.field3, end.field4);
    let from_size_key =
        start.field6 == u32::MAX && u16::from(start.field5) + 1 == u16::from(end.field5);
    same_object && (start.field5 == end.field5 || from_size_key)
}

/// Number of keys of a contiguous range.
pub fn contiguous_range_len(range: &Range<Key>) -> u32 {
    if range.start.field6 == u32::MAX {
        range.end.field6.saturating_add(1)
    } else {
        range.end.field6.saturating_sub(range.start.field6)
    }
}

/// Number of keys of a range, or [`SIZE_UNKNOWN`] when it spans several objects.
pub fn raw_size(range: &Range<Key>) -> u32 {
    if is_contiguous_range(range) { contiguous_range_len(range) } else { SIZE_UNKNOWN }
}

/// Whether the range holds exactly one key.
pub fn is_single_key(range: &Range<Key>) -> bool {
    range.start < range.end && range.start.next() == range.end
}

#[cfg(test)]
mod tests;
