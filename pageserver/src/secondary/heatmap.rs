//! The heatmap: which layers an attached location holds, and when each was used last.
//!
//! Format: docs/formats/heatmap.md. Written by the attached location, read by secondaries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layer_format::{LayerFileMetadata, LayerName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utils::{Generation, TimelineId};

/// The layers that one attached location holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heatmap {
    /// The generation that the location is attached in.
    #[serde(default, skip_serializing_if = "Generation::is_none")]
    pub generation: Generation,
    /// Its timelines.
    pub timelines: Vec<HeatmapTimeline>,
    /// How often a new heatmap is to be expected, in milliseconds.
    #[serde(default)]
    pub upload_period_ms: Option<u64>,
}

/// The layers of one timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeatmapTimeline {
    /// The timeline.
    pub timeline_id: TimelineId,
    /// The layers that the attached location holds, each once.
    pub layers: Vec<HeatmapLayer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeatmapLayer {
    /// Its name.
    pub name: LayerName,
    /// Its size and which object it is.
    pub metadata: LayerFileMetadata,
    /// When it was used last, to the second.
    #[serde(serialize_with = "to_seconds", deserialize_with = "from_seconds")]
    pub access_time: SystemTime,
}

impl Heatmap {
    /// How often a new heatmap is to be expected, if that is known.
    pub fn upload_period(&self) -> Option<Duration> {
        self.upload_period_ms.filter(|period_ms| *period_ms > 0).map(Duration::from_millis)
    }

    /// Number and total bytes of all layers.
    pub fn totals(&self) -> (u64, u64) {
        let layers = self.timelines.iter().flat_map(|timeline| &timeline.layers);
        layers.fold((0, 0), |(count, bytes), layer| (count + 1, bytes + layer.metadata.file_size))
    }

    /// The same heatmap as if no layer had ever been used.
    #[must_use]
    pub fn without_access_times(mut self) -> Self {
        let layers = self.timelines.iter_mut().flat_map(|timeline| &mut timeline.layers);
        layers.for_each(|layer| layer.access_time = UNIX_EPOCH);
        self
    }
}

fn to_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| serde::de::Error::custom(format!("{seconds} s is beyond all clocks")))
}

#[cfg(test)]
mod tests;
