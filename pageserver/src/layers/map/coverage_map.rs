//! A persistent ordered map: cloning is free, and a change copies only the path to it.
//!
//! A treap over `i128` keys. Priorities derive from the keys, so equal contents have equal
//! shapes and nothing here is random. Expected depth is logarithmic whatever the order of
//! insertion.

use std::ops::Range;
use std::sync::Arc;

/// A subtree; `None` is empty.
type Tree<V> = Option<Arc<Node<V>>>;

struct Node<V> {
    key: i128,
    value: V,
    left: Tree<V>,
    right: Tree<V>,
}

/// An immutable ordered map from `i128` to `V`.
pub(super) struct CoverageMap<V>(Tree<V>);

impl<V> Clone for CoverageMap<V> {
    fn clone(&self) -> Self {
        CoverageMap(self.0.clone())
    }
}

impl<V> Default for CoverageMap<V> {
    fn default() -> Self {
        CoverageMap(None)
    }
}

/// Spreads keys over priorities (the finaliser of splitmix64, over both halves).
fn priority(key: i128) -> u64 {
    let mut hash = (key as u64) ^ ((key >> 64) as u64).rotate_left(32);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl<V: Clone> CoverageMap<V> {
    /// The entry with the greatest key not above `key`.
    pub(super) fn floor(&self, key: i128) -> Option<(i128, &V)> {
        let mut best = None;
        let mut tree = &self.0;
        while let Some(node) = tree {
            if node.key <= key {
                best = Some((node.key, &node.value));
                tree = &node.right;
            } else {
                tree = &node.left;
            }
        }
        best
    }

    /// Every entry of a range, in order.
    pub(super) fn range(&self, keys: Range<i128>) -> Iter<'_, V> {
        let mut iter = Iter { stack: Vec::new(), end: keys.end };
        let mut tree = &self.0;
        while let Some(node) = tree {
            if node.key >= keys.start {
                iter.stack.push(node);
                tree = &node.left;
            } else {
                tree = &node.right;
            }
        }
        iter
    }

    /// The map with the entries of `keys` replaced by `replacement`, which must be sorted and
    /// lie in the range.
    pub(super) fn with_range_replaced(
        &self,
        keys: Range<i128>,
        replacement: Vec<(i128, V)>,
    ) -> CoverageMap<V> {
        let (below, rest) = split(&self.0, keys.start);
        let (_, above) = split(&rest, keys.end);
        let mut middle = None;
        for (key, value) in replacement {
            let node = Arc::new(Node { key, value, left: None, right: None });
            middle = join(&middle, &Some(node));
        }
        CoverageMap(join(&join(&below, &middle), &above))
    }
}

/// Splits into keys below `key` and the others.
fn split<V: Clone>(tree: &Tree<V>, key: i128) -> (Tree<V>, Tree<V>) {
    let Some(node) = tree else { return (None, None) };
    let copy = |left, right| {
        Some(Arc::new(Node { key: node.key, value: node.value.clone(), left, right }))
    };
    if node.key < key {
        let (middle, above) = split(&node.right, key);
        (copy(node.left.clone(), middle), above)
    } else {
        let (below, middle) = split(&node.left, key);
        (below, copy(middle, node.right.clone()))
    }
}

/// Joins two trees; every key of `low` is below every key of `high`.
fn join<V: Clone>(low: &Tree<V>, high: &Tree<V>) -> Tree<V> {
    let (Some(a), Some(b)) = (low, high) else { return low.clone().or_else(|| high.clone()) };
    let (node, left, right) = if priority(a.key) >= priority(b.key) {
        (a, a.left.clone(), join(&a.right, high))
    } else {
        (b, join(low, &b.left), b.right.clone())
    };
    Some(Arc::new(Node { key: node.key, value: node.value.clone(), left, right }))
}

/// Entries in ascending order.
pub(super) struct Iter<'a, V> {
    stack: Vec<&'a Arc<Node<V>>>,
    end: i128,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (i128, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.stack.pop()?;
        if node.key >= self.end {
            self.stack.clear();
            return None;
        }
        let mut tree = &node.right;
        while let Some(child) = tree {
            self.stack.push(child);
            tree = &child.left;
        }
        Some((node.key, &node.value))
    }
}

#[cfg(test)]
mod tests;
