//! The layers of this node that could be evicted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use layer_format::LayerName;
use utils::TimelineId;

use super::metrics::{COLLECTED, COLLECTION_SECONDS, TENANT_LAYERS};
use super::plan::{Candidate, TenantLayers};
use crate::config::EvictionOrder;
use crate::layers::Layer;
use crate::secondary::SecondaryTenant;
use crate::tenant::{Tenant, TenantManager};

/// How long an eviction waits for readers: knowledge of what is in use ages fast, and one layer
/// must not hold up the others.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A layer that can be evicted.
#[derive(Clone)]
pub(super) enum EvictableLayer {
    /// Of a tenant that is served here.
    Attached(Layer),
    /// Of a secondary location.
    Secondary(Arc<SecondaryTenant>, TimelineId, LayerName),
}

impl EvictableLayer {
    /// Removes the file. False if it stays, or has gone already.
    pub(super) async fn evict(self) -> bool {
        match self {
            EvictableLayer::Attached(layer) => layer.evict_and_wait(EVICTION_TIMEOUT).await.is_ok(),
            EvictableLayer::Secondary(secondary, timeline, name) => {
                secondary.evict_layer(timeline, name).await
            }
        }
    }
}

/// Every layer that could be evicted, ranked within its tenant.
pub(super) fn collect(
    tenants: &TenantManager,
    order: EvictionOrder,
) -> Vec<Candidate<EvictableLayer>> {
    let mut candidates = Vec::new();
    for tenant in tenants.attached() {
        // Others are being loaded or broken: hands off.
        if tenant.state.is_active() {
            add(&mut candidates, order, || of_tenant(&tenant));
        }
    }
    for secondary in tenants.secondaries() {
        add(&mut candidates, order, || of_secondary(&secondary));
    }
    COLLECTED.inc_by(candidates.len() as u64);
    tracing::info!(candidates = candidates.len(), "collection completed");
    candidates
}

fn add(
    candidates: &mut Vec<Candidate<EvictableLayer>>,
    order: EvictionOrder,
    collect: impl FnOnce() -> TenantLayers<EvictableLayer>,
) {
    let started = Instant::now();
    let layers = collect();
    TENANT_LAYERS.observe(layers.layers.len() as f64);
    candidates.extend(layers.into_candidates(order));
    COLLECTION_SECONDS.observe(started.elapsed().as_secs_f64());
}

fn of_tenant(tenant: &Tenant) -> TenantLayers<EvictableLayer> {
    let mut largest_bytes = 0;
    let mut layers = Vec::new();
    for timeline in tenant.list_timelines() {
        if !timeline.is_active() {
            continue;
        }
        for layer in timeline.layers() {
            let size_bytes = layer.metadata().file_size;
            largest_bytes = largest_bytes.max(size_bytes);
            if layer.is_evictable() {
                let last_activity = layer.latest_activity();
                layers.push((size_bytes, last_activity, EvictableLayer::Attached(layer)));
            }
        }
    }
    let conf = tenant.tenant_conf.load();
    // Room for the largest layer lets any read make progress.
    let minimum = conf.effective.min_resident_size_override.unwrap_or(largest_bytes);
    TenantLayers { layers, min_resident_bytes: Some(minimum), evicted_before: 0 }
}

fn of_secondary(secondary: &Arc<SecondaryTenant>) -> TenantLayers<EvictableLayer> {
    let (resident, evicted_before) = secondary.layers_for_eviction();
    let layers = resident.into_iter().map(|layer| {
        let evictable =
            EvictableLayer::Secondary(Arc::clone(secondary), layer.timeline, layer.name);
        (layer.size_bytes, layer.access_time, evictable)
    });
    TenantLayers { layers: layers.collect(), min_resident_bytes: None, evicted_before }
}
