//! All layers of a timeline: the open one, the frozen ones, and the files in the layer map.
//!
//! Bookkeeping under one lock, without I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use layer_format::LayerName;
use utils::Lsn;

use crate::layers::{InMemoryLayer, Layer, LayerMap};

/// The layers of one timeline.
pub(super) struct LayerManager {
    open: Option<Arc<InMemoryLayer>>,
    /// Oldest first.
    frozen: VecDeque<Arc<InMemoryLayer>>,
    /// Where the next open layer starts.
    next_open_layer_at: Lsn,
    map: LayerMap,
    handles: HashMap<LayerName, Layer>,
    /// The logical size in bytes where a layer was last frozen, if it was known there.
    frozen_size: Option<(Lsn, u64)>,
}

impl LayerManager {
    pub(super) fn new(next_open_layer_at: Lsn, layers: Vec<Layer>) -> LayerManager {
        let mut manager = LayerManager {
            open: None,
            frozen: VecDeque::new(),
            next_open_layer_at,
            map: LayerMap::default(),
            handles: HashMap::new(),
            frozen_size: None,
        };
        manager.replace(&[], layers);
        manager
    }

    pub(super) fn map(&self) -> &LayerMap {
        &self.map
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.handles.values()
    }

    pub(super) fn layer(&self, name: &LayerName) -> Option<&Layer> {
        self.handles.get(name)
    }

    pub(super) fn open_layer(&self) -> Option<&Arc<InMemoryLayer>> {
        self.open.as_ref()
    }

    pub(super) fn oldest_frozen(&self) -> Option<&Arc<InMemoryLayer>> {
        self.frozen.front()
    }

    /// In-memory layers, oldest first.
    pub(super) fn in_memory(&self) -> Vec<Arc<InMemoryLayer>> {
        self.frozen.iter().chain(&self.open).cloned().collect()
    }

    /// The newest in-memory layer that starts below `end_lsn`.
    pub(super) fn in_memory_below(&self, end_lsn: Lsn) -> Option<&Arc<InMemoryLayer>> {
        let newest_first = self.open.iter().chain(self.frozen.iter().rev());
        newest_first.into_iter().find(|layer| layer.start_lsn() < end_lsn)
    }

    pub(super) fn next_open_layer_at(&self) -> Lsn {
        self.next_open_layer_at
    }

    /// Starts a new open layer.
    pub(super) fn set_open(&mut self, layer: Arc<InMemoryLayer>) {
        assert!(self.open.is_none(), "there is one open layer");
        self.open = Some(layer);
    }

    /// Ends the open layer at `end_lsn` (exclusive), if there is one, and queues it.
    pub(super) fn freeze(&mut self, end_lsn: Lsn) -> bool {
        let Some(layer) = self.open.take() else { return false };
        layer.freeze(end_lsn);
        self.frozen.push_back(layer);
        self.next_open_layer_at = end_lsn;
        true
    }

    /// Keeps the logical size at `lsn`, where the open layer was frozen.
    pub(super) fn note_logical_size(&mut self, lsn: Lsn, bytes: u64) {
        self.frozen_size = Some((lsn, bytes));
    }

    /// The logical size in bytes at `lsn`, if that is where a layer was last frozen.
    pub(super) fn logical_size_at(&self, lsn: Lsn) -> Option<u64> {
        self.frozen_size.filter(|(noted_at, _)| *noted_at == lsn).map(|(_, bytes)| bytes)
    }

    /// Moves the start of the next open layer ahead of LSNs that need no layer.
    pub(super) fn skip_to(&mut self, lsn: Lsn) {
        if self.open.is_none() {
            self.next_open_layer_at = self.next_open_layer_at.max(lsn);
        }
    }

    /// Replaces the oldest frozen layer by the file it was written to.
    pub(super) fn finish_flush(&mut self, flushed: &Arc<InMemoryLayer>, layer: Layer) {
        let oldest = self.frozen.pop_front();
        let same = oldest.is_some_and(|oldest| Arc::ptr_eq(&oldest, flushed));
        assert!(same, "the oldest frozen layer is flushed first");
        self.replace(&[], vec![layer]);
    }

    /// Removes and adds layers in one step.
    pub(super) fn replace(&mut self, removed: &[LayerName], added: Vec<Layer>) {
        let mut batch = self.map.batch_update();
        for name in removed {
            if self.handles.remove(name).is_some() {
                batch.remove(name);
            }
        }
        for layer in added {
            batch.insert(layer.name().clone());
            self.handles.insert(layer.name().clone(), layer);
        }
    }
}
