//! Builds the index from keys in ascending order, bottom up, in memory.
//!
//! The result is reproducible byte for byte: a node is prefix-compressed only at the moment it
//! overflows, so the last node of each level usually is not.

use super::node::{HEADER_SIZE, INNER_MARK, MAX_LEAF_VALUE, VALUE_SIZE};
use crate::block::BLOCK_SIZE;

/// The input cannot be indexed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BTreeBuilderError {
    /// A key is not greater than the one before.
    #[error("Unsorted input: key {key} follows {previous}")]
    Unsorted {
        /// The offending key, in hexadecimal.
        key: String,
        /// The key before it, in hexadecimal.
        previous: String,
    },
    /// A value is beyond [`MAX_LEAF_VALUE`].
    #[error("index value {0:#x} is too large")]
    ValueTooLarge(u64),
    /// There was no entry at all.
    #[error("an index needs at least one entry")]
    Empty,
}

/// A finished index.
#[derive(Debug)]
pub struct BuiltTree {
    /// Its blocks, back to back.
    pub blocks: Vec<u8>,
    /// Block number of the root, relative to the first of `blocks`.
    pub root_block: u32,
}

/// Collects entries with keys of `L` bytes.
pub struct BTreeBuilder<const L: usize> {
    /// From the leaf up; every level has one node under construction.
    levels: Vec<OpenNode>,
    last_key: Option<[u8; L]>,
    blocks: Vec<u8>,
}

impl<const L: usize> Default for BTreeBuilder<L> {
    fn default() -> Self {
        Self { levels: vec![OpenNode::new(0, L)], last_key: None, blocks: Vec::new() }
    }
}

impl<const L: usize> BTreeBuilder<L> {
    /// Starts an empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. Keys must ascend strictly.
    pub fn append(&mut self, key: &[u8; L], value: u64) -> Result<(), BTreeBuilderError> {
        if value > MAX_LEAF_VALUE {
            return Err(BTreeBuilderError::ValueTooLarge(value));
        }
        if let Some(previous) = &self.last_key
            && key <= previous
        {
            return Err(BTreeBuilderError::Unsorted {
                key: hex::encode(key),
                previous: hex::encode(previous),
            });
        }
        let [_, _, _, bytes @ ..] = value.to_be_bytes();
        self.append_at(0, key, bytes);
        self.last_key = Some(*key);
        Ok(())
    }

    /// Bytes of the blocks written so far, for deciding when a file is large enough.
    pub fn size_bytes(&self) -> u64 {
        (self.blocks.len() + self.levels.len() * BLOCK_SIZE) as u64
    }

    /// Writes out what is left and returns the blocks.
    pub fn finish(mut self) -> Result<BuiltTree, BTreeBuilderError> {
        if self.last_key.is_none() {
            return Err(BTreeBuilderError::Empty);
        }
        let mut level = 0;
        loop {
            let (block_number, first_key) = self.write_out(level);
            level += 1;
            if level >= self.levels.len() {
                return Ok(BuiltTree { blocks: self.blocks, root_block: block_number });
            }
            self.append_at(level, &first_key, child_value(block_number));
        }
    }

    fn append_at(&mut self, level: usize, key: &[u8], value: [u8; VALUE_SIZE]) {
        while self.levels.len() <= level {
            self.levels.push(OpenNode::new(self.levels.len() as u8, L));
        }
        if self.try_append(level, key, value) {
            return;
        }
        if let Some(node) = self.levels.get_mut(level) {
            node.compress();
        }
        if self.try_append(level, key, value) {
            return;
        }
        let (block_number, first_key) = self.write_out(level);
        self.append_at(level + 1, &first_key, child_value(block_number));
        let fits = self.try_append(level, key, value);
        assert!(fits, "an empty node has room for one entry");
    }

    fn try_append(&mut self, level: usize, key: &[u8], value: [u8; VALUE_SIZE]) -> bool {
        self.levels.get_mut(level).is_some_and(|node| node.try_append(key, value))
    }

    /// Writes the open node of `level` and starts a new one. Returns what its parent, if it
    /// has one, must record: the block number and the first key.
    fn write_out(&mut self, level: usize) -> (u32, Vec<u8>) {
        let block_number = (self.blocks.len() / BLOCK_SIZE) as u32;
        let Some(open) = self.levels.get_mut(level) else { return (block_number, Vec::new()) };
        let node = std::mem::replace(open, OpenNode::new(level as u8, L));
        node.write(&mut self.blocks);
        (block_number, node.first_key())
    }
}

fn child_value(block_number: u32) -> [u8; VALUE_SIZE] {
    let [a, b, c, d] = block_number.to_be_bytes();
    [INNER_MARK, a, b, c, d]
}

/// A node that still takes entries.
struct OpenNode {
    level: u8,
    prefix: Vec<u8>,
    suffix_length: usize,
    suffixes: Vec<u8>,
    values: Vec<u8>,
}

impl OpenNode {
    fn new(level: u8, key_length: usize) -> OpenNode {
        OpenNode {
            level,
            prefix: Vec::new(),
            suffix_length: key_length,
            suffixes: Vec::new(),
            values: Vec::new(),
        }
    }

    fn children(&self) -> usize {
        self.values.len() / VALUE_SIZE
    }

    fn size(&self) -> usize {
        HEADER_SIZE + self.prefix.len() + self.suffixes.len() + self.values.len()
    }

    fn try_append(&mut self, key: &[u8], value: [u8; VALUE_SIZE]) -> bool {
        let Some(suffix) = key.strip_prefix(self.prefix.as_slice()) else { return false };
        if self.size() + self.suffix_length + VALUE_SIZE >= BLOCK_SIZE {
            return false;
        }
        self.suffixes.extend_from_slice(suffix);
        self.values.extend_from_slice(&value);
        true
    }

    fn first_key(&self) -> Vec<u8> {
        let first = self.suffixes.iter().take(self.suffix_length);
        self.prefix.iter().chain(first).copied().collect()
    }

    /// Moves what the first and last suffix share into the prefix. Because entries are sorted
    /// every suffix between them shares it too.
    fn compress(&mut self) {
        let last_start = self.suffixes.len().saturating_sub(self.suffix_length);
        let (first, last) = (self.suffixes.iter(), self.suffixes.iter().skip(last_start));
        let pairs = first.take(self.suffix_length).zip(last);
        let common = pairs.take_while(|(a, b)| a == b).count();
        if common == 0 {
            return;
        }
        self.prefix.extend(self.suffixes.iter().take(common));
        let shortened = self.suffixes.chunks(self.suffix_length);
        self.suffixes = shortened.flat_map(|suffix| suffix.iter().skip(common)).copied().collect();
        self.suffix_length -= common;
    }

    fn write(&self, blocks: &mut Vec<u8>) {
        let end = blocks.len() + BLOCK_SIZE;
        blocks.extend_from_slice(&(self.children() as u16).to_be_bytes());
        blocks.extend_from_slice(&[self.level, self.prefix.len() as u8, self.suffix_length as u8]);
        blocks.extend_from_slice(&self.prefix);
        blocks.extend_from_slice(&self.suffixes);
        blocks.extend_from_slice(&self.values);
        blocks.resize(end, 0);
    }
}
