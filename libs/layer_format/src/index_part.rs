//! `index_part.json`: the object that defines a timeline. What it does not name does not exist.
//!
//! One per timeline, shard and generation. Format: docs/formats/index-part.md. This is the
//! codec only; finding the newest one and uploading it belong to the pageserver.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use pageserver_api::shard::ShardIndex;
use serde::{Deserialize, Deserializer, Serialize};
use utils::{Generation, Lsn};

use crate::lineage::Lineage;
use crate::metadata::TimelineMetadata;
use crate::name::LayerName;

/// Version number the writer emits. Informative: every version is read by the same parser.
pub const INDEX_VERSION: u32 = 7;
/// Base name of the object, before the generation suffix.
pub const INDEX_FILE_NAME: &str = "index_part.json";

/// What the index records about one layer beside its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerFileMetadata {
    /// Length of the object in bytes.
    pub file_size: u64,
    /// The generation that wrote the object, part of its key.
    #[serde(default, skip_serializing_if = "Generation::is_none")]
    pub generation: Generation,
    /// The shard that wrote the object, part of its key. Differs from the index's own shard
    /// for layers that were there before a split.
    #[serde(default, skip_serializing_if = "ShardIndex::is_unsharded")]
    pub shard: ShardIndex,
}

impl LayerFileMetadata {
    /// Bundles the three facts.
    pub fn new(file_size: u64, generation: Generation, shard: ShardIndex) -> LayerFileMetadata {
        LayerFileMetadata { file_size, generation, shard }
    }
}

/// The content of an index object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// Version of the writer, informative.
    #[serde(default)]
    pub version: u32,
    /// Present when the timeline is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<NaiveDateTime>,
    /// Every layer of the timeline.
    pub layer_metadata: BTreeMap<LayerName, LayerFileMetadata>,
    /// Repeats the metadata field of the same name for people and tools.
    pub disk_consistent_lsn: Lsn,
    /// The timeline itself.
    #[serde(rename = "metadata_bytes", alias = "metadata", deserialize_with = "either_metadata")]
    pub metadata: TimelineMetadata,
    /// How the timeline's ancestry changed over time.
    #[serde(default)]
    pub lineage: Lineage,
    /// Encoding of auxiliary files last written, as in the tenant configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_aux_file_policy: Option<String>,
    /// Sum of all relation sizes at `disk_consistent_lsn`, in bytes, if the writer knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_size: Option<u64>,
}

/// An index could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexPartError {
    /// The bytes are not an index.
    #[error("cannot parse index_part.json: {0}")]
    Parse(#[source] serde_json::Error),
    /// Serialisation failed.
    #[error("cannot serialise index_part.json: {0}")]
    Serialise(#[source] serde_json::Error),
}

impl IndexPart {
    /// The index of a timeline that has no layers yet.
    pub fn empty(metadata: TimelineMetadata) -> IndexPart {
        IndexPart {
            version: INDEX_VERSION,
            deleted_at: None,
            layer_metadata: BTreeMap::new(),
            disk_consistent_lsn: metadata.disk_consistent_lsn,
            metadata,
            lineage: Lineage::default(),
            last_aux_file_policy: None,
            logical_size: None,
        }
    }

    /// Parses an index of any version.
    pub fn from_json(bytes: &[u8]) -> Result<IndexPart, IndexPartError> {
        serde_json::from_slice(bytes).map_err(IndexPartError::Parse)
    }

    /// Serialises in the current version.
    pub fn to_json(&self) -> Result<Vec<u8>, IndexPartError> {
        let current = IndexPart {
            version: INDEX_VERSION,
            disk_consistent_lsn: self.metadata.disk_consistent_lsn,
            ..self.clone()
        };
        serde_json::to_vec(&current).map_err(IndexPartError::Serialise)
    }

    /// Object name of the index written in `generation`.
    pub fn object_name(generation: Generation) -> String {
        format!("{INDEX_FILE_NAME}{}", generation.remote_suffix())
    }

    /// The generation of an index object name, or `None` when the name is of something else.
    pub fn parse_object_name(name: &str) -> Option<Generation> {
        match name.strip_prefix(INDEX_FILE_NAME)? {
            "" => Some(Generation::None),
            suffix => Generation::parse_suffix(suffix.strip_prefix('-')?),
        }
    }
}

/// Reads the metadata as an object, or as the array of 512 numbers of earlier versions.
fn either_metadata<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TimelineMetadata, D::Error> {
    use serde::de::Error;
    match serde_json::Value::deserialize(deserializer)? {
        array @ serde_json::Value::Array(_) => {
            let bytes: Vec<u8> = serde_json::from_value(array).map_err(D::Error::custom)?;
            TimelineMetadata::from_bytes(&bytes).map_err(D::Error::custom)
        }
        object => serde_json::from_value(object).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests;
