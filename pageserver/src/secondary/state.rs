//! What a secondary location has on disk, and what it gave up. No I/O but the scan at the start.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use layer_format::paths::LocalFileKind;
use layer_format::{LayerFileMetadata, LayerName};
use utils::TimelineId;

use super::heatmap::{Heatmap, HeatmapLayer};

/// A layer whose file is here.
#[derive(Clone, Debug)]
pub struct ResidentSecondaryLayer {
    /// Its timeline.
    pub timeline: TimelineId,
    /// Its name.
    pub name: LayerName,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// When the attached location used it last.
    pub access_time: SystemTime,
}

/// A layer whose file is here.
#[derive(Clone, Debug)]
struct OnDisk {
    metadata: LayerFileMetadata,
    access_time: SystemTime,
}

#[derive(Default)]
struct TimelineState {
    on_disk: HashMap<LayerName, OnDisk>,
    /// Files removed under disk pressure, and when.
    evicted: HashMap<LayerName, SystemTime>,
}

/// What is on disk. Unknown until the first heatmap tells what files should be.
#[derive(Default)]
pub(super) struct SecondaryState {
    scanned: bool,
    timelines: HashMap<TimelineId, TimelineState>,
    /// Version of the last heatmap that was followed to the end.
    pub(super) finished_etag: Option<String>,
    /// How often heatmaps come.
    pub(super) upload_period: Option<Duration>,
}

/// What a heatmap asks to change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Timelines to forget.
    pub(super) removed_timelines: Vec<TimelineId>,
    /// Files to remove.
    pub(super) removed_files: Vec<Utf8PathBuf>,
    /// Layers to download, in the order of the heatmap.
    pub(super) wanted: Vec<(TimelineId, HeatmapLayer)>,
    /// Number and bytes of the layers that are here already.
    pub(super) present: (u64, u64),
    /// Number and bytes of the layers that stay evicted.
    pub(super) given_up: (u64, u64),
}

impl SecondaryState {
    pub(super) fn is_scanned(&self) -> bool {
        self.scanned
    }

    /// Takes over what a scan of the disk found. Access times are unknown until the heatmap is
    /// applied.
    pub(super) fn adopt(
        &mut self,
        found: HashMap<TimelineId, Vec<(LayerName, LayerFileMetadata)>>,
    ) {
        for (timeline, layers) in found {
            let state = self.timelines.entry(timeline).or_default();
            state.on_disk = layers
                .into_iter()
                .map(|(name, metadata)| {
                    (name, OnDisk { metadata, access_time: SystemTime::UNIX_EPOCH })
                })
                .collect();
        }
        self.scanned = true;
    }

    /// Compares with a heatmap. Forgets what is not in it; the caller removes the files.
    /// `directory_of` tells where a timeline's files are.
    pub(super) fn apply(
        &mut self,
        heatmap: &Heatmap,
        directory_of: impl Fn(&TimelineId) -> Utf8PathBuf,
    ) -> Changes {
        let mut changes = Changes::default();
        self.upload_period = heatmap.upload_period();
        let named: HashSet<TimelineId> =
            heatmap.timelines.iter().map(|timeline| timeline.timeline_id).collect();
        let gone = self.timelines.keys().filter(|timeline| !named.contains(timeline));
        changes.removed_timelines = gone.copied().collect();
        for timeline in &changes.removed_timelines {
            self.timelines.remove(timeline);
        }
        for timeline in &heatmap.timelines {
            let id = timeline.timeline_id;
            let directory = directory_of(&id);
            let state = self.timelines.entry(id).or_default();
            state.apply(&timeline.layers, &directory, &mut changes.removed_files);
            for layer in &timeline.layers {
                let counted = |(count, bytes)| (count + 1, bytes + layer.metadata.file_size);
                if state.on_disk.contains_key(&layer.name) {
                    changes.present = counted(changes.present);
                } else if state.evicted.contains_key(&layer.name) {
                    changes.given_up = counted(changes.given_up);
                } else {
                    changes.wanted.push((id, layer.clone()));
                }
            }
        }
        changes
    }

    /// A download is complete.
    pub(super) fn downloaded(&mut self, timeline: TimelineId, layer: &HeatmapLayer) {
        let on_disk = OnDisk { metadata: layer.metadata.clone(), access_time: layer.access_time };
        self.timelines.entry(timeline).or_default().on_disk.insert(layer.name.clone(), on_disk);
    }

    /// Gives a file up. Returns its path, made by `path_of`; `None` if it is not here.
    pub(super) fn evict(
        &mut self,
        timeline: &TimelineId,
        name: &LayerName,
        path_of: impl FnOnce(&LayerFileMetadata) -> Utf8PathBuf,
    ) -> Option<Utf8PathBuf> {
        let state = self.timelines.get_mut(timeline)?;
        let on_disk = state.on_disk.remove(name)?;
        state.evicted.insert(name.clone(), SystemTime::now());
        Some(path_of(&on_disk.metadata))
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        let layers = self.timelines.values().flat_map(|timeline| timeline.on_disk.values());
        layers.map(|layer| layer.metadata.file_size).sum()
    }

    pub(super) fn layers_for_eviction(&self) -> (Vec<ResidentSecondaryLayer>, usize) {
        let mut resident = Vec::new();
        let mut evicted = 0;
        for (timeline, state) in &self.timelines {
            evicted += state.evicted.len();
            resident.extend(state.on_disk.iter().map(|(name, on_disk)| ResidentSecondaryLayer {
                timeline: *timeline,
                name: name.clone(),
                size_bytes: on_disk.metadata.file_size,
                access_time: on_disk.access_time,
            }));
        }
        (resident, evicted)
    }
}

impl TimelineState {
    /// Forgets layers that are absent from the heatmap, or other objects in it.
    fn apply(
        &mut self,
        layers: &[HeatmapLayer],
        directory: &Utf8Path,
        removed_files: &mut Vec<Utf8PathBuf>,
    ) {
        let named: HashMap<&LayerName, &HeatmapLayer> =
            layers.iter().map(|layer| (&layer.name, layer)).collect();
        self.on_disk.retain(|name, on_disk| match named.get(name) {
            // The shard is part of the remote key only: a scan cannot know it.
            Some(layer)
                if layer.metadata.file_size == on_disk.metadata.file_size
                    && layer.metadata.generation == on_disk.metadata.generation =>
            {
                on_disk.metadata = layer.metadata.clone();
                on_disk.access_time = layer.access_time;
                true
            }
            Some(_) | None => {
                let file = name.local_file_name(on_disk.metadata.generation);
                removed_files.push(directory.join(file));
                false
            }
        });
        // What was used since it was evicted is wanted again.
        self.evicted.retain(|name, evicted_at| {
            named.get(name).is_some_and(|layer| layer.access_time <= *evicted_at)
        });
    }
}

/// The layer files below a `timelines` directory. Leftovers of interrupted work are removed; what
/// is unknown is left for the attach to judge. Blocking.
pub(super) fn scan(
    timelines_dir: &Utf8Path,
    shard: pageserver_api::shard::ShardIndex,
) -> std::io::Result<HashMap<TimelineId, Vec<(LayerName, LayerFileMetadata)>>> {
    let mut found = HashMap::new();
    let entries = match timelines_dir.read_dir_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(timeline) = entry.file_name().parse::<TimelineId>() else { continue };
        let mut layers = Vec::new();
        for file in entry.path().read_dir_utf8()? {
            let file = file?;
            match LocalFileKind::of(file.file_name()) {
                LocalFileKind::Layer(name, generation) => {
                    let size = file.metadata()?.len();
                    layers.push((name, LayerFileMetadata::new(size, generation, shard)));
                }
                LocalFileKind::Ephemeral
                | LocalFileKind::Temporary
                | LocalFileKind::TemporaryDownload
                | LocalFileKind::LegacyBackup => std::fs::remove_file(file.path())?,
                LocalFileKind::Unknown => {}
            }
        }
        found.insert(timeline, layers);
    }
    Ok(found)
}

/// Removes a file; one that is gone already is fine. False if it is still there.
pub(super) fn remove_file(path: &Utf8Path) -> bool {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("cannot remove layer file {path}: {error}");
            false
        }
        Ok(()) | Err(_) => true,
    }
}
