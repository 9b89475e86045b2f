//! How layers are stacked over the keys, for people who wonder why reads are slow.

use std::ops::Range;

use pageserver_api::{Key, KeySpace};
use utils::Lsn;

use super::Timeline;

/// What lies over some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerStack {
    /// The keys.
    pub keys: Range<Key>,
    /// Whether there is an image of them.
    pub has_image: bool,
    /// Deltas that a read of the newest version may have to visit.
    pub deltas_above_image: usize,
    /// Deltas of the whole history.
    pub deltas: usize,
}

impl Timeline {
    /// The stacks over `keyspace` at `lsn`, cut where the newest image changes.
    pub fn layer_stacks(&self, keyspace: &KeySpace, lsn: Lsn) -> Vec<LayerStack> {
        let layers = self.layers_read();
        let map = layers.map();
        let end = lsn + 1;
        let parts = keyspace.ranges.iter().flat_map(|range| map.image_coverage(range, end));
        parts
            .map(|(keys, image)| {
                let floor = image.as_ref().map_or(Lsn::INVALID, |image| image.lsn_range().start);
                LayerStack {
                    has_image: image.is_some(),
                    deltas_above_image: map.count_deltas(&keys, &(floor..end), usize::MAX),
                    deltas: map.count_deltas(&keys, &(Lsn::INVALID..end), usize::MAX),
                    keys,
                }
            })
            .collect()
    }
}
