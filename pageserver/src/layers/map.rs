//! The layer map: which layers a timeline has, and which one to read for a key at an LSN.
//!
//! Pure bookkeeping over names; files and residency are the handles' business. Queries take
//! exclusive end LSNs, as reads walk downwards. The caller provides the lock and holds it over
//! no I/O.

mod coverage_map;
mod historic;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use layer_format::LayerName;
use pageserver_api::Key;
use pageserver_api::keyspace::{KeySpace, KeySpaceAccum};
use utils::Lsn;

use historic::{Cover, HistoricCoverage, Version, compact_range, cover_at};

/// A layer to read, and how far down reading it is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// The layer.
    pub layer: Arc<LayerName>,
    /// Versions below this LSN must be looked for elsewhere, even if the layer has some: an
    /// image lies in between.
    pub lsn_floor: Lsn,
}

/// Layers that together cover a range as far as it is covered.
#[derive(Clone, Debug, Default)]
pub struct RangeSearchResult {
    /// Layers with the keys each is to be read for.
    pub found: Vec<(SearchResult, KeySpace)>,
}

/// The persistent layers of a timeline.
#[derive(Default)]
pub struct LayerMap {
    historic: HistoricCoverage,
    l0_deltas: BTreeMap<(Lsn, Lsn), Arc<LayerName>>,
}

/// Changes to a layer map; they take effect together when this is dropped.
pub struct BatchedUpdates<'a> {
    map: &'a mut LayerMap,
}

impl BatchedUpdates<'_> {
    /// Adds a layer.
    pub fn insert(&mut self, name: LayerName) {
        let name = Arc::new(name);
        if name.is_l0() {
            let lsns = name.lsn_range();
            self.map.l0_deltas.insert((lsns.start, lsns.end), Arc::clone(&name));
        }
        self.map.historic.insert(name);
    }

    /// Removes a layer.
    pub fn remove(&mut self, name: &LayerName) {
        if name.is_l0() {
            let lsns = name.lsn_range();
            self.map.l0_deltas.remove(&(lsns.start, lsns.end));
        }
        self.map.historic.remove(name);
    }
}

impl Drop for BatchedUpdates<'_> {
    fn drop(&mut self) {
        self.map.historic.rebuild();
    }
}

impl LayerMap {
    /// Starts a batch of changes.
    pub fn batch_update(&mut self) -> BatchedUpdates<'_> {
        BatchedUpdates { map: self }
    }

    /// Every layer, by start LSN.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LayerName>> {
        self.historic.iter()
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.historic.len()
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The L0 deltas, oldest first.
    pub fn l0_deltas(&self) -> impl Iterator<Item = &Arc<LayerName>> {
        self.l0_deltas.values()
    }

    /// The layer with the newest version of `key` below `end_lsn`.
    pub fn search(&self, key: Key, end_lsn: Lsn) -> Option<SearchResult> {
        let version = self.version_below(end_lsn)?;
        let key = key.to_i128();
        choose(cover_at(&version.deltas, key), cover_at(&version.images, key), end_lsn)
    }

    /// The layers with the newest versions below `end_lsn` of the keys of a range. What no
    /// layer covers does not appear.
    pub fn range_search(&self, keys: &Range<Key>, end_lsn: Lsn) -> RangeSearchResult {
        let mut found: BTreeMap<(Arc<LayerName>, Lsn), KeySpaceAccum> = BTreeMap::new();
        let Some(version) = self.version_below(end_lsn) else {
            return RangeSearchResult::default();
        };
        for (part, delta, image) in sweep(version, keys) {
            if let Some(result) = choose(delta, image, end_lsn) {
                found.entry((result.layer, result.lsn_floor)).or_default().add_range(part);
            }
        }
        let found = found.into_iter().map(|((layer, lsn_floor), keys)| {
            (SearchResult { layer, lsn_floor }, keys.into_keyspace())
        });
        RangeSearchResult { found: found.collect() }
    }

    /// Whether images with LSNs in `lsns` cover all of `keys`.
    pub fn image_layer_exists(&self, keys: &Range<Key>, lsns: &Range<Lsn>) -> bool {
        self.image_coverage(keys, lsns.end).iter().all(|(_, image)| {
            image.as_ref().is_some_and(|image| image.lsn_range().start >= lsns.start)
        })
    }

    /// The parts of `keys`, each with its newest image below `end_lsn`.
    pub fn image_coverage(
        &self,
        keys: &Range<Key>,
        end_lsn: Lsn,
    ) -> Vec<(Range<Key>, Option<Arc<LayerName>>)> {
        match self.version_below(end_lsn) {
            None => vec![(keys.clone(), None)],
            Some(version) => change_points(&version.images, keys)
                .into_iter()
                .map(|part| {
                    let cover = cover_at(&version.images, part.start.to_i128());
                    (part, cover.map(|(_, layer)| Arc::clone(layer)))
                })
                .collect(),
        }
    }

    /// How many deltas of `lsns` are stacked over some key of `keys`, at most `limit`. An L0
    /// counts only where the range is the whole key space, as it says nothing about which
    /// keys it holds.
    pub fn count_deltas(&self, keys: &Range<Key>, lsns: &Range<Lsn>, limit: usize) -> usize {
        if limit == 0 || lsns.is_empty() || keys.is_empty() {
            return 0;
        }
        let Some(version) = self.version_below(lsns.end) else { return 0 };
        let mut most = 0;
        for part in change_points(&version.deltas, keys) {
            let Some((_, layer)) = cover_at(&version.deltas, part.start.to_i128()) else {
                continue;
            };
            let layer_lsns = layer.lsn_range();
            if layer_lsns.end <= lsns.start {
                continue;
            }
            let counts = !layer.is_l0() || *keys == (Key::MIN..Key::MAX);
            let own = usize::from(counts);
            let below = lsns.start..layer_lsns.start.min(lsns.end);
            most = most.max(own + self.count_deltas(&part, &below, limit - own));
            if most >= limit {
                return limit;
            }
        }
        most
    }

    fn version_below(&self, end_lsn: Lsn) -> Option<&Version> {
        end_lsn.0.checked_sub(1).and_then(|lsn| self.historic.version(Lsn(lsn)))
    }
}

/// Decides between the topmost delta and the topmost image.
fn choose(
    delta: Option<&(Lsn, Arc<LayerName>)>,
    image: Option<&(Lsn, Arc<LayerName>)>,
    end_lsn: Lsn,
) -> Option<SearchResult> {
    let floor = |layer: &Arc<LayerName>| layer.lsn_range().start;
    match (delta, image) {
        (None, None) => None,
        (Some((_, layer)), None) | (None, Some((_, layer))) => {
            Some(SearchResult { layer: Arc::clone(layer), lsn_floor: floor(layer) })
        }
        (Some((delta_end, delta)), Some((image_end, image))) => {
            let image_is_exact = *image_end == end_lsn;
            Some(if image_end >= delta_end || image_is_exact {
                SearchResult { layer: Arc::clone(image), lsn_floor: floor(image) }
            } else {
                // The image's own LSN still belongs to the image.
                let lsn_floor = floor(delta).max(*image_end);
                SearchResult { layer: Arc::clone(delta), lsn_floor }
            })
        }
    }
}

type Part<'a> = (Range<Key>, Option<&'a (Lsn, Arc<LayerName>)>, Option<&'a (Lsn, Arc<LayerName>)>);

/// Cuts a range where either coverage changes.
fn sweep<'a>(version: &'a Version, keys: &Range<Key>) -> Vec<Part<'a>> {
    let mut points = inner_points(&version.deltas, keys);
    points.extend(inner_points(&version.images, keys));
    points.sort_unstable();
    points.dedup();
    cut(keys, points)
        .into_iter()
        .map(|part| {
            let key = part.start.to_i128();
            (part, cover_at(&version.deltas, key), cover_at(&version.images, key))
        })
        .collect()
}

/// Cuts a range where one coverage changes.
fn change_points(map: &coverage_map::CoverageMap<Cover>, keys: &Range<Key>) -> Vec<Range<Key>> {
    cut(keys, inner_points(map, keys))
}

fn inner_points(map: &coverage_map::CoverageMap<Cover>, keys: &Range<Key>) -> Vec<i128> {
    let compact = compact_range(keys);
    if compact.start >= compact.end {
        return Vec::new();
    }
    map.range(compact.start + 1..compact.end).map(|(key, _)| key).collect()
}

fn cut(keys: &Range<Key>, points: Vec<i128>) -> Vec<Range<Key>> {
    let mut parts = Vec::with_capacity(points.len() + 1);
    let mut start = keys.start;
    for point in points {
        let end = Key::from_i128(point);
        parts.push(start..end);
        start = end;
    }
    parts.push(start..keys.end);
    parts
}

#[cfg(test)]
mod tests;
