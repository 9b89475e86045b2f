//! One timeline's part of a read: which layers to visit, newest first, and for which keys.
//!
//! Keys still wanted travel down through the layers. Where their paths split, the parts wait in
//! a fringe ordered by how new the layer is. The layer manager is locked for one step at a
//! time and never over I/O.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use layer_format::LayerName;
use pageserver_api::keyspace::{KeySpace, KeySpaceRandomAccum};
use utils::Lsn;

use super::{PageReconstructError, Timeline};
use crate::context::RequestContext;
use crate::layers::layer::GatherError;
use crate::layers::{InMemoryLayer, Layer, ReconstructState};

/// A layer to visit.
enum Visited {
    InMemory(Arc<InMemoryLayer>),
    File(Layer),
}

/// Orders the fringe: the newest end last, and of equal ends the lower start last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FringeKey {
    end_lsn: Lsn,
    start_lsn: std::cmp::Reverse<Lsn>,
    /// Tells layers of equal range apart; in-memory layers have none.
    name: Option<LayerName>,
}

/// Layers waiting to be visited, each with the keys to look for.
#[derive(Default)]
struct Fringe(BTreeMap<FringeKey, (Visited, KeySpaceRandomAccum)>);

impl Fringe {
    fn add(&mut self, layer: Visited, keys: KeySpace, lsns: Range<Lsn>) {
        let name = match &layer {
            Visited::InMemory(_) => None,
            Visited::File(layer) => Some(layer.name().clone()),
        };
        let start_lsn = std::cmp::Reverse(lsns.start);
        let key = FringeKey { end_lsn: lsns.end, start_lsn, name };
        let (_, wanted) = self.0.entry(key).or_insert((layer, KeySpaceRandomAccum::default()));
        // Joined when the layer's turn comes: there may be a part for each of very many ranges.
        wanted.add_keyspace(keys);
    }

    fn pop_newest(&mut self) -> Option<(Visited, KeySpace, Range<Lsn>)> {
        let (key, (layer, keys)) = self.0.pop_last()?;
        Some((layer, keys.into_keyspace(), key.start_lsn.0..key.end_lsn))
    }
}

/// What a visit left to do.
#[derive(Default)]
pub(super) struct VisitOutcome {
    /// Keys that need nothing older.
    pub(super) completed: KeySpace,
    /// Keys whose image layer was read: what is not completed among them does not exist.
    pub(super) covered_by_images: KeySpace,
}

impl Timeline {
    /// Gathers what this timeline has of `keys` below `end_lsn`.
    pub(super) async fn visit_layers(
        &self,
        keys: KeySpace,
        end_lsn: Lsn,
        state: &mut ReconstructState,
        ctx: &RequestContext,
    ) -> Result<VisitOutcome, PageReconstructError> {
        let mut outcome = VisitOutcome::default();
        let mut fringe = Fringe::default();
        let (mut unmapped, mut cont_lsn) = (keys, end_lsn);
        loop {
            if self.cancel.is_cancelled() {
                return Err(PageReconstructError::Cancelled);
            }
            let done = state.take_newly_done();
            unmapped.remove_overlapping_with(&done);
            outcome.completed.merge(&done);
            if !unmapped.is_empty() {
                self.extend_fringe(&mut fringe, unmapped, cont_lsn);
            }
            let Some((layer, mut wanted, lsns)) = fringe.pop_newest() else { return Ok(outcome) };
            wanted.remove_overlapping_with(&outcome.completed);
            state.layers_visited += 1;
            match layer {
                Visited::InMemory(layer) => layer.gather(&wanted, &lsns, state),
                Visited::File(layer) => {
                    gather_file(&layer, &wanted, &lsns, state, ctx).await?;
                    if !layer.name().is_delta() {
                        // An image proves absence: there is no need to look further down.
                        outcome.covered_by_images.merge(&wanted);
                        wanted = KeySpace::default();
                    }
                }
            }
            (unmapped, cont_lsn) = (wanted, lsns.start);
        }
    }

    /// Adds the layers with the newest versions below `cont_lsn`. Keys that no layer covers
    /// are dropped.
    fn extend_fringe(&self, fringe: &mut Fringe, keys: KeySpace, cont_lsn: Lsn) {
        let layers = self.layers_read();
        if let Some(layer) = layers.in_memory_below(cont_lsn) {
            let lsns = layer.start_lsn()..cont_lsn;
            fringe.add(Visited::InMemory(Arc::clone(layer)), keys, lsns);
            return;
        }
        for range in &keys.ranges {
            for (found, part) in layers.map().range_search(range, cont_lsn).found {
                let Some(layer) = layers.layer(&found.layer) else {
                    tracing::error!("layer map names {} but has no handle of it", found.layer);
                    continue;
                };
                fringe.add(Visited::File(layer.clone()), part, found.lsn_floor..cont_lsn);
            }
        }
    }
}

async fn gather_file(
    layer: &Layer,
    keys: &KeySpace,
    lsns: &Range<Lsn>,
    state: &mut ReconstructState,
    ctx: &RequestContext,
) -> Result<(), PageReconstructError> {
    if keys.is_empty() {
        return Ok(());
    }
    let resident = layer.get_or_maybe_download(ctx).await.map_err(|source| {
        PageReconstructError::Layer(Box::new(GatherError { layer: layer.name().clone(), source }))
    })?;
    let taken = std::mem::take(state);
    // On failure what was gathered is lost, and the whole read fails with it.
    let gathered = resident.gather(keys.clone(), lsns.clone(), taken).await;
    *state = gathered.map_err(|error| PageReconstructError::Layer(Box::new(error)))?;
    Ok(())
}
