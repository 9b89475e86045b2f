//! The pageserver's storage formats: layer names and files, the timeline index, and where
//! objects are kept.
//!
//! Shared by the pageserver and offline tools. Codecs and plain blocking file access: no
//! async, no clock, no randomness, no global state, and nothing that depends on configuration.
//! Formats: docs/formats.

pub mod blob;
pub mod block;
pub mod btree;
pub mod deletion_list;
pub mod delta;
mod error;
#[cfg(test)]
mod golden;
pub mod image;
pub mod index_part;
pub mod lineage;
pub mod metadata;
pub mod name;
pub mod paths;
mod read;
pub mod summary;
mod write;

pub use blob::Compression;
pub use deletion_list::{DeletionHeader, DeletionList};
pub use delta::{DeltaEntry, DeltaLayerReader, DeltaLayerWriter};
pub use error::{LayerFileError, LayerFileReason};
pub use image::{ImageLayerReader, ImageLayerWriter};
pub use index_part::{IndexPart, LayerFileMetadata};
pub use lineage::Lineage;
pub use metadata::TimelineMetadata;
pub use name::{DeltaLayerName, ImageLayerName, LayerName};
pub use read::PlannedBlob;
