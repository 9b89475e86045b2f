//! Layers as the HTTP API shows them.

use serde::{Deserialize, Serialize};
use utils::Lsn;

/// Answer of `GET …/layer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerMapInfo {
    /// The open layer and those waiting to be written out.
    pub in_memory_layers: Vec<InMemoryLayerInfo>,
    /// Layer files, here or remote.
    pub historic_layers: Vec<HistoricLayerInfo>,
}

/// A layer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum InMemoryLayerInfo {
    /// Takes new WAL.
    Open {
        /// First position.
        lsn_start: Lsn,
    },
    /// Waits to be written out.
    Frozen {
        /// First position.
        lsn_start: Lsn,
        /// After the last position.
        lsn_end: Lsn,
    },
}

/// A layer file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum HistoricLayerInfo {
    /// WAL records of a key and LSN range.
    Delta {
        /// Name without generation.
        layer_file_name: String,
        /// Size in bytes.
        layer_file_size: u64,
        /// First position.
        lsn_start: Lsn,
        /// After the last position.
        lsn_end: Lsn,
        /// Whether the file is not on this node.
        remote: bool,
        /// How the layer was used.
        access_stats: LayerAccessStats,
        /// Whether it spans all keys.
        l0: bool,
    },
    /// Page images of a key range at one LSN.
    Image {
        /// Name without generation.
        layer_file_name: String,
        /// Size in bytes.
        layer_file_size: u64,
        /// The position.
        lsn_start: Lsn,
        /// Whether the file is not on this node.
        remote: bool,
        /// How the layer was used.
        access_stats: LayerAccessStats,
    },
}

impl HistoricLayerInfo {
    /// Name without generation.
    pub fn layer_file_name(&self) -> &str {
        match self {
            HistoricLayerInfo::Delta { layer_file_name, .. }
            | HistoricLayerInfo::Image { layer_file_name, .. } => layer_file_name,
        }
    }

    /// Size in bytes.
    pub fn layer_file_size(&self) -> u64 {
        match self {
            HistoricLayerInfo::Delta { layer_file_size, .. }
            | HistoricLayerInfo::Image { layer_file_size, .. } => *layer_file_size,
        }
    }

    /// Whether the file is not on this node.
    pub fn is_remote(&self) -> bool {
        match self {
            HistoricLayerInfo::Delta { remote, .. } | HistoricLayerInfo::Image { remote, .. } => {
                *remote
            }
        }
    }
}

/// How a layer was used since the process started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerAccessStats {
    /// Accesses by kind.
    #[serde(default)]
    pub access_count_by_access_kind: std::collections::BTreeMap<String, u64>,
    /// The kinds of tasks that used it.
    #[serde(default)]
    pub task_kind_access_flag: Vec<String>,
}
