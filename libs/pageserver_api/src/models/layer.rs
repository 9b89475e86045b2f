//! Layers as the HTTP API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utils::Lsn;

/// Answer of `GET …/layer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LayerMapInfo {
    /// The open layer and those waiting to be written out.
    pub in_memory_layers: Vec<InMemoryLayerInfo>,
    /// Layer files, here or remote.
    pub historic_layers: Vec<HistoricLayerInfo>,
}

/// A layer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LayerAccessStats {
    /// Accesses by kind.
    #[serde(default)]
    pub access_count_by_access_kind: std::collections::BTreeMap<String, u64>,
    /// The kinds of tasks that used it.
    #[serde(default)]
    pub task_kind_access_flag: Vec<String>,
    /// The first access.
    #[serde(default)]
    pub first: Option<LayerAccessStat>,
    /// The latest accesses.
    #[serde(default)]
    pub accesses_history: HistoryBuffer<LayerAccessStat>,
    /// When the file came and went.
    #[serde(default)]
    pub residence_events_history: HistoryBuffer<LayerResidenceEvent>,
}

/// The latest events of some sort, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryBuffer<T> {
    /// The events.
    pub buffer: Vec<T>,
    /// How many it can hold.
    pub buffer_size: u64,
    /// How many older ones were dropped.
    pub drop_count: u64,
}

impl<T> Default for HistoryBuffer<T> {
    fn default() -> Self {
        HistoryBuffer { buffer: Vec::new(), buffer_size: 0, drop_count: 0 }
    }
}

/// One use of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerAccessStat {
    /// When, in milliseconds since the Unix epoch.
    pub when_millis_since_epoch: u64,
    /// By what kind of task.
    pub task_kind: String,
    /// For what.
    pub access_kind: String,
}

/// Whether a layer's file is on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LayerResidenceStatus {
    /// It is.
    Resident,
    /// It is only in remote storage.
    Evicted,
}

/// What a residence event was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LayerResidenceEventReason {
    /// The timeline was loaded.
    LayerLoad,
    /// The layer was made here.
    LayerCreate,
    /// It was downloaded or evicted.
    ResidenceChange,
}

/// A file came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerResidenceEvent {
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_millis_since_epoch: u64,
    /// What is the case since then.
    pub status: LayerResidenceStatus,
    /// Why.
    pub reason: LayerResidenceEventReason,
}

/// Body of `POST …/download_remote_layers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DownloadRemoteLayersTaskSpawnRequest {
    /// Downloads at once.
    pub max_concurrent_downloads: std::num::NonZeroUsize,
}

/// Answer of `POST` and `GET …/download_remote_layers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DownloadRemoteLayersTaskInfo {
    /// Tells one run from another.
    pub task_id: String,
    /// Where it is.
    pub state: DownloadRemoteLayersTaskState,
    /// Layers that were not here when it began.
    pub total_layer_count: u64,
    /// Layers that are here now.
    pub successful_download_count: u64,
    /// Layers that could not be downloaded.
    pub failed_download_count: u64,
}

/// Where a download of all layers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DownloadRemoteLayersTaskState {
    /// Under way.
    Running,
    /// Every layer was tried.
    Completed,
    /// The timeline was shut down meanwhile.
    ShutDown,
}
