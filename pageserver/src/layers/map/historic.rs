//! For every LSN, which layer lies topmost over which keys.
//!
//! One version exists per distinct start LSN, and holds, for images and deltas apart, a map
//! "from this key on, this layer is the one with the highest end". Versions share structure,
//! so a layer costs what it changes. Layers are inserted in order of their start; a change
//! further back rebuilds the versions from there on, which the caller batches.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use layer_format::LayerName;
use utils::Lsn;

use super::coverage_map::CoverageMap;

/// What covers the keys from an entry on: nothing, or a layer with its end LSN.
pub(super) type Cover = Option<(Lsn, Arc<LayerName>)>;

/// The topmost layers as of one LSN.
#[derive(Clone, Default)]
pub(super) struct Version {
    pub(super) images: CoverageMap<Cover>,
    pub(super) deltas: CoverageMap<Cover>,
}

/// The compact form of a layer's key range.
pub(super) fn compact_range(keys: &Range<pageserver_api::Key>) -> Range<i128> {
    keys.start.to_i128()..keys.end.to_i128()
}

/// The layer that covers `key`, if one does.
pub(super) fn cover_at(map: &CoverageMap<Cover>, key: i128) -> Option<&(Lsn, Arc<LayerName>)> {
    map.floor(key).and_then(|(_, cover)| cover.as_ref())
}

/// Order of insertion: later starts come later, and so do higher layers of equal start.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey {
    lsn_start: Lsn,
    lsn_end: Lsn,
    key_start: i128,
    key_end: i128,
    is_image: bool,
}

impl SortKey {
    fn of(name: &LayerName) -> SortKey {
        let (keys, lsns) = (compact_range(name.key_range()), name.lsn_range());
        SortKey {
            lsn_start: lsns.start,
            lsn_end: lsns.end,
            key_start: keys.start,
            key_end: keys.end,
            is_image: !name.is_delta(),
        }
    }
}

/// All versions, and the changes not yet applied to them.
#[derive(Default)]
pub(super) struct HistoricCoverage {
    layers: BTreeMap<SortKey, Arc<LayerName>>,
    /// By start LSN.
    versions: BTreeMap<Lsn, Version>,
    /// Start LSNs whose versions, and all later ones, must be rebuilt.
    dirty_from: Option<Lsn>,
    pending: BTreeSet<SortKey>,
}

impl HistoricCoverage {
    /// Adds a layer; takes effect with [`Self::rebuild`].
    pub(super) fn insert(&mut self, name: Arc<LayerName>) {
        let key = SortKey::of(&name);
        self.touch(key.clone());
        self.layers.insert(key, name);
    }

    /// Removes a layer; takes effect with [`Self::rebuild`].
    pub(super) fn remove(&mut self, name: &LayerName) {
        let key = SortKey::of(name);
        if self.layers.remove(&key).is_some() {
            self.touch(key);
        }
    }

    fn touch(&mut self, key: SortKey) {
        let from = self.dirty_from.map_or(key.lsn_start, |dirty| dirty.min(key.lsn_start));
        self.dirty_from = Some(from);
        self.pending.insert(key);
    }

    /// Applies all pending changes.
    pub(super) fn rebuild(&mut self) {
        let Some(from) = self.dirty_from.take() else { return };
        let updates = std::mem::take(&mut self.pending).len();
        self.versions.split_off(&from);
        let mut version =
            self.versions.last_key_value().map(|(_, version)| version.clone()).unwrap_or_default();
        let first = SortKey {
            lsn_start: from,
            lsn_end: Lsn(0),
            key_start: i128::MIN,
            key_end: i128::MIN,
            is_image: false,
        };
        let mut insertions = 0;
        for (key, name) in self.layers.range(first..) {
            insert_into(&mut version, name);
            self.versions.insert(key.lsn_start, version.clone());
            insertions += 1;
        }
        if insertions > updates {
            tracing::debug!(
                "Rebuilt layer map. Did {insertions} insertions to process a batch of {updates} updates."
            );
        }
    }

    /// The state after all layers that start at or below `lsn`.
    pub(super) fn version(&self, lsn: Lsn) -> Option<&Version> {
        assert!(self.dirty_from.is_none(), "layer map read while updates are pending");
        self.versions.range(..=lsn).next_back().map(|(_, version)| version)
    }

    /// Every layer, by start LSN.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<LayerName>> {
        self.layers.values()
    }

    /// Number of layers.
    pub(super) fn len(&self) -> usize {
        self.layers.len()
    }
}

/// Puts a layer over whatever ends below it.
fn insert_into(version: &mut Version, name: &Arc<LayerName>) {
    let keys = compact_range(name.key_range());
    if keys.is_empty() {
        return;
    }
    let end_lsn = name.lsn_range().end;
    let map = if name.is_delta() { &mut version.deltas } else { &mut version.images };
    let cover_of = |key| map.floor(key).and_then(|(_, cover)| cover.clone());
    let (at_start, at_end) = (cover_of(keys.start), cover_of(keys.end));

    let mut pieces = vec![(keys.start, at_start)];
    let inner = map.range(keys.start + 1..keys.end);
    pieces.extend(inner.map(|(key, cover)| (key, cover.clone())));
    let mut replaced: Vec<(i128, Cover)> = Vec::with_capacity(pieces.len() + 1);
    for (key, cover) in pieces {
        // Of two layers with the same end the one that was there first stays.
        let stays = cover.as_ref().is_some_and(|(end, _)| *end >= end_lsn);
        let cover = if stays { cover } else { Some((end_lsn, Arc::clone(name))) };
        if !replaced.last().is_some_and(|(_, previous)| same_cover(previous, &cover)) {
            replaced.push((key, cover));
        }
    }
    // Nothing lies beyond the greatest key, so its end needs no entry.
    let past_end = keys.end.checked_add(1).unwrap_or(keys.end);
    if past_end > keys.end {
        replaced.push((keys.end, at_end));
    }
    *map = map.with_range_replaced(keys.start..past_end, replaced);
}

fn same_cover(a: &Cover, b: &Cover) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some((_, a)), Some((_, b))) => Arc::ptr_eq(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
