//! One node: its layout, and a checked view of a block as a node.

use std::ops::Range;

use crate::block::{BLOCK_SIZE, Block};

/// Bytes before the prefix: number of children, level, prefix length, suffix length.
pub(super) const HEADER_SIZE: usize = 5;
/// Bytes of a value.
pub(super) const VALUE_SIZE: usize = 5;
/// Largest value a leaf can hold.
pub const MAX_LEAF_VALUE: u64 = 0x7F_FFFF_FFFF;
/// First byte of the values of inner nodes.
pub(super) const INNER_MARK: u8 = 0x80;

/// A block is not a valid node.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodeError {
    /// It has no entries.
    #[error("a node without children")]
    Empty,
    /// Prefix and suffix do not add up to the tree's key length.
    #[error("key length {found}, expected {expected}")]
    KeyLength {
        /// Prefix plus suffix length.
        found: usize,
        /// Length of the tree's keys.
        expected: usize,
    },
    /// The entries do not fit a block.
    #[error("{0} children do not fit a block")]
    TooManyChildren(usize),
    /// A child's level is not one below its parent's.
    #[error("level {found}, expected {expected}")]
    Level {
        /// Level in the block.
        found: u8,
        /// Level the parent implies.
        expected: u8,
    },
    /// A value is not of the kind the level demands.
    #[error("value {0:#012x} does not fit the level of its node")]
    Value(u64),
}

/// A parsed node. Holds on to its block.
pub(super) struct Node<const L: usize> {
    block: Block,
    level: u8,
    children: usize,
    prefix: Range<usize>,
    suffix_length: usize,
}

impl<const L: usize> Node<L> {
    pub(super) fn parse(block: Block) -> Result<Node<L>, NodeError> {
        let [a, b, level, prefix_length, suffix_length, ..] = *block;
        let children = usize::from(u16::from_be_bytes([a, b]));
        let (prefix_length, suffix_length) =
            (usize::from(prefix_length), usize::from(suffix_length));
        if children == 0 {
            return Err(NodeError::Empty);
        }
        let found = prefix_length + suffix_length;
        if found != L {
            return Err(NodeError::KeyLength { found, expected: L });
        }
        let prefix = HEADER_SIZE..HEADER_SIZE + prefix_length;
        if prefix.end + children * (suffix_length + VALUE_SIZE) > BLOCK_SIZE {
            return Err(NodeError::TooManyChildren(children));
        }
        Ok(Node { block, level, children, prefix, suffix_length })
    }

    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn len(&self) -> usize {
        self.children
    }

    fn prefix(&self) -> &[u8] {
        self.block.get(self.prefix.clone()).unwrap_or_default()
    }

    fn suffix(&self, index: usize) -> &[u8] {
        let start = self.prefix.end + index * self.suffix_length;
        self.block.get(start..start + self.suffix_length).unwrap_or_default()
    }

    /// The key of an entry; `None` past the last.
    pub(super) fn key(&self, index: usize) -> Option<[u8; L]> {
        if index >= self.children {
            return None;
        }
        let mut key = [0; L];
        let bytes = self.prefix().iter().chain(self.suffix(index));
        for (to, from) in key.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(key)
    }

    fn raw_value(&self, index: usize) -> [u8; VALUE_SIZE] {
        let values = self.prefix.end + self.children * self.suffix_length;
        let bytes = self.block.get(values + index * VALUE_SIZE..).unwrap_or_default();
        bytes.first_chunk().copied().unwrap_or_default()
    }

    /// The value of a leaf's entry.
    pub(super) fn leaf_value(&self, index: usize) -> Result<u64, NodeError> {
        let [a, b, c, d, e] = self.raw_value(index);
        let value = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        if value > MAX_LEAF_VALUE { Err(NodeError::Value(value)) } else { Ok(value) }
    }

    /// The block number an inner node's entry points to.
    pub(super) fn child(&self, index: usize) -> Result<u32, NodeError> {
        let [mark, a, b, c, d] = self.raw_value(index);
        match mark {
            INNER_MARK => Ok(u32::from_be_bytes([a, b, c, d])),
            _ => Err(NodeError::Value(u64::from_be_bytes([0, 0, 0, mark, a, b, c, d]))),
        }
    }

    /// The first entry whose key is not below `key`, and whether it equals it.
    pub(super) fn search(&self, key: &[u8; L]) -> (usize, bool) {
        let (mut low, mut high) = (0, self.children);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle).is_some_and(|found| found < *key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low, self.key(low).as_ref() == Some(key))
    }
}
