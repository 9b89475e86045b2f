//! Searches the index: a cursor that starts at a key and walks forward.

use super::node::{Node, NodeError};
use crate::block::{BLOCK_SIZE, BlockReader};
use crate::error::{LayerFileError, LayerFileReason, at};

/// Deepest tree accepted. A real one of that depth would exceed any file system.
const MAX_LEVEL: u8 = 16;

/// An index with keys of `L` bytes inside a layer file.
#[derive(Debug)]
pub struct BTreeReader<R, const L: usize> {
    blocks: R,
    start_block: u32,
    root_block: u32,
}

impl<R: BlockReader, const L: usize> BTreeReader<R, L> {
    /// An index that starts at `start_block` and whose root is `root_block` blocks further.
    pub fn new(blocks: R, start_block: u32, root_block: u32) -> Self {
        Self { blocks, start_block, root_block }
    }

    /// A cursor before the first entry whose key is not below `key`.
    pub fn seek(&self, key: &[u8; L]) -> Result<BTreeCursor<'_, R, L>, LayerFileError> {
        let root = self.node(self.root_block, None)?;
        let mut cursor = BTreeCursor { tree: self, path: Vec::new() };
        cursor.descend(root, Some(key))?;
        Ok(cursor)
    }

    fn node(&self, block: u32, level: Option<u8>) -> Result<Node<L>, LayerFileError> {
        let number = u64::from(self.start_block) + u64::from(block);
        let offset = number * BLOCK_SIZE as u64;
        let name = self.blocks.name();
        if offset + BLOCK_SIZE as u64 > self.blocks.length_bytes() {
            let length = self.blocks.length_bytes();
            return Err(at(name, offset)(LayerFileReason::Truncated { length }));
        }
        let fail = |reason| at(name, offset)(reason);
        let block = self.blocks.read_block(number).map_err(|e| fail(LayerFileReason::Io(e)))?;
        let node = Node::parse(block).map_err(|e| fail(LayerFileReason::Node(e)))?;
        // Levels that fall by one keep a corrupt index from leading in circles.
        let expected = level.unwrap_or(node.level().min(MAX_LEVEL));
        if node.level() != expected {
            let found = node.level();
            return Err(fail(LayerFileReason::Node(NodeError::Level { found, expected })));
        }
        Ok(node)
    }

    fn node_error(&self, error: NodeError) -> LayerFileError {
        let offset = u64::from(self.start_block) * BLOCK_SIZE as u64;
        at(self.blocks.name(), offset)(LayerFileReason::Node(error))
    }
}

/// A position in an index.
pub struct BTreeCursor<'a, R, const L: usize> {
    tree: &'a BTreeReader<R, L>,
    /// From the root to a leaf: nodes and the entry to visit next in each.
    path: Vec<(Node<L>, usize)>,
}

impl<R: BlockReader, const L: usize> BTreeCursor<'_, R, L> {
    /// The entry under the cursor, and moves on. `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<([u8; L], u64)>, LayerFileError> {
        loop {
            let Some((node, next)) = self.path.last_mut() else { return Ok(None) };
            let index = *next;
            if index >= node.len() {
                self.path.pop();
                continue;
            }
            *next += 1;
            if node.level() > 0 {
                let level = node.level() - 1;
                let child = node.child(index).map_err(|error| self.tree.node_error(error))?;
                let child = self.tree.node(child, Some(level))?;
                self.path.push((child, 0));
                continue;
            }
            let value = node.leaf_value(index).map_err(|error| self.tree.node_error(error))?;
            return Ok(node.key(index).map(|key| (key, value)));
        }
    }

    /// Moves forward to the first entry whose key is not below `key`; never back. Cheap as long as
    /// that is not far.
    pub fn advance(&mut self, key: &[u8; L]) -> Result<(), LayerFileError> {
        if let Some((leaf, next)) = self.path.last_mut()
            && leaf.level() == 0
        {
            let (found, _) = leaf.search(key);
            if found < leaf.len() {
                *next = found.max(*next);
                return Ok(());
            }
        }
        let root = self.tree.node(self.tree.root_block, None)?;
        self.path.clear();
        self.descend(root, Some(key))
    }

    /// Pushes `node` and its descendants down to the leaf that `key` belongs in.
    fn descend(&mut self, node: Node<L>, key: Option<&[u8; L]>) -> Result<(), LayerFileError> {
        let mut node = node;
        loop {
            let (found, exact) = key.map_or((0, true), |key| node.search(key));
            if node.level() == 0 {
                self.path.push((node, found));
                return Ok(());
            }
            // Keys between two entries of an inner node live under the former.
            let index = if exact { found } else { found.saturating_sub(1) };
            let child = node.child(index).map_err(|error| self.tree.node_error(error))?;
            let level = node.level() - 1;
            self.path.push((node, index + 1));
            node = self.tree.node(child, Some(level))?;
        }
    }
}
