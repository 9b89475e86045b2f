//! Image layers: the value of every key of a range at one LSN, without the value envelope.
//!
//! Format: docs/formats/layer-files.md.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod reader;
mod writer;

pub use reader::ImageLayerReader;
pub use writer::ImageLayerWriter;

#[cfg(test)]
mod tests;
