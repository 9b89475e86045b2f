//! The pageserver's storage formats: layer names and files, the timeline index, and where
//! objects are kept.
//!
//! Shared by the pageserver and offline tools. Codecs only: no async, no clock, no global
//! state, and nothing that depends on configuration. Formats: docs/formats.

pub mod index_part;
pub mod lineage;
pub mod metadata;
pub mod name;
pub mod paths;

pub use index_part::{IndexPart, LayerFileMetadata};
pub use lineage::Lineage;
pub use metadata::TimelineMetadata;
pub use name::{DeltaLayerName, ImageLayerName, LayerName};
