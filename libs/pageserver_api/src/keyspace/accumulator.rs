//! Builders of key spaces: one for input in order, one for input in any order.

use std::ops::Range;

use crate::key::Key;

use super::KeySpace;

/// Collects keys and ranges that arrive in ascending order; ranges that touch are joined.
#[derive(Debug, Default)]
pub struct KeySpaceAccum {
    current: Option<Range<Key>>,
    ranges: Vec<Range<Key>>,
}

impl KeySpaceAccum {
    /// Adds one key. See [`KeySpaceAccum::add_range`].
    pub fn add_key(&mut self, key: Key) {
        self.add_range(key..key.next());
    }

    /// Adds a range; an empty one is ignored.
    ///
    /// # Panics
    /// When the range starts before the end of what was added earlier.
    pub fn add_range(&mut self, range: Range<Key>) {
        if range.start >= range.end {
            return;
        }
        match &mut self.current {
            Some(current) if current.end == range.start => current.end = range.end,
            Some(current) => {
                assert!(
                    range.start > current.end,
                    "key ranges must be added in order: {range:?} after {current:?}"
                );
                self.ranges.push(std::mem::replace(current, range));
            }
            None => self.current = Some(range),
        }
    }

    /// The set of everything added.
    pub fn into_keyspace(mut self) -> KeySpace {
        self.ranges.extend(self.current.take());
        KeySpace { ranges: self.ranges }
    }
}

/// Collects keys and ranges in any order; overlaps are joined at the end.
#[derive(Debug, Default)]
pub struct KeySpaceRandomAccum {
    ranges: Vec<Range<Key>>,
}

impl KeySpaceRandomAccum {
    /// Adds one key.
    pub fn add_key(&mut self, key: Key) {
        self.add_range(key..key.next());
    }

    /// Adds a range; an empty one is ignored.
    pub fn add_range(&mut self, range: Range<Key>) {
        if range.start < range.end {
            self.ranges.push(range);
        }
    }

    /// Adds every key of a set.
    pub fn add_keyspace(&mut self, keyspace: KeySpace) {
        self.ranges.extend(keyspace.ranges);
    }

    /// The set of everything added.
    pub fn into_keyspace(mut self) -> KeySpace {
        self.ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<Key>> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                Some(_) | None => joined.push(range),
            }
        }
        KeySpace { ranges: joined }
    }
}
