//! The index of a layer file: an immutable B-tree of fixed-length keys, one node per block.
//!
//! Format and the exact rules of the builder: docs/formats/layer-files.md, "Index".

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod builder;
mod node;
mod reader;

pub use builder::{BTreeBuilder, BTreeBuilderError, BuiltTree};
pub use node::{MAX_LEAF_VALUE, NodeError};
pub use reader::{BTreeCursor, BTreeReader};

#[cfg(test)]
mod tests;
