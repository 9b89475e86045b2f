//! Which layers go, and in which order. Pure: neither looks at the disk nor evicts.

use std::cmp::Ordering;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{EvictionOrder, RelativeAccessed};

/// Whether a tenant can do without a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinResidentSize {
    /// Beyond what the tenant should keep: goes first.
    Above,
    /// Part of what it should keep.
    Below,
}

/// One layer that could go. `L` is whatever evicts it.
#[derive(Clone, Debug)]
pub struct Candidate<L> {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// When it was used last.
    pub last_activity: SystemTime,
    /// Whether its tenant can do without it.
    pub partition: MinResidentSize,
    /// Place among the layers of its tenant: 0 for the one to go first.
    pub relative: f32,
    /// The layer.
    pub layer: L,
}

/// The resident layers of one tenant or secondary location.
#[derive(Debug)]
pub struct TenantLayers<L> {
    /// Size, last use, layer.
    pub layers: Vec<(u64, SystemTime, L)>,
    /// What the tenant should keep, in bytes; `None` for a cache, which needs nothing.
    pub min_resident_bytes: Option<u64>,
    /// Layers that were evicted before, of a secondary location: its rank stays what it was.
    pub evicted_before: usize,
}

impl<L> TenantLayers<L> {
    /// Ranks the layers among themselves.
    pub fn into_candidates(self, order: EvictionOrder) -> Vec<Candidate<L>> {
        let TenantLayers { mut layers, min_resident_bytes, evicted_before } = self;
        // Most recently used first.
        layers.sort_by(|(_, a, _), (_, b, _)| b.cmp(a));
        let count = layers.len() + evicted_before;
        let mut newer_bytes = 0;
        let ranked = layers.into_iter().enumerate();
        ranked
            .map(|(index, (size_bytes, last_activity, layer))| {
                let partition = match min_resident_bytes {
                    Some(minimum) if newer_bytes <= minimum => MinResidentSize::Below,
                    Some(_) | None => MinResidentSize::Above,
                };
                newer_bytes += size_bytes;
                let relative = relative_recency(order, index, count);
                Candidate { size_bytes, last_activity, partition, relative, layer }
            })
            .collect()
    }
}

/// The place of the `index`-th most recently used of `count` layers: the lower, the sooner it goes.
fn relative_recency(order: EvictionOrder, index: usize, count: usize) -> f32 {
    let EvictionOrder::RelativeAccessed(RelativeAccessed { highest_layer_count_loses_first }) =
        order
    else {
        return 0.0;
    };
    let divisor = match highest_layer_count_loses_first {
        true => count,
        false => count.saturating_sub(1),
    };
    let divisor = divisor.max(1);
    divisor.saturating_sub(index) as f32 / divisor as f32
}

/// Sorts candidates of all tenants: those to go first come first.
pub fn sort<L>(candidates: &mut [Candidate<L>], order: EvictionOrder) {
    candidates.sort_by(|a, b| {
        a.partition.cmp(&b.partition).then_with(|| match order {
            EvictionOrder::AbsoluteAccessed => a.last_activity.cmp(&b.last_activity),
            EvictionOrder::RelativeAccessed(_) => {
                a.relative.partial_cmp(&b.relative).unwrap_or(Ordering::Equal)
            }
        })
    });
}

/// How much there is to free, and how much has been. Also part of the HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvictedBytes {
    /// Bytes to free.
    pub evict_bytes: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
}

/// Something that is under pressure until enough bytes are freed.
pub trait Usage: Copy {
    /// Whether more has to go.
    fn has_pressure(&self) -> bool;

    /// The same with more bytes freed.
    #[must_use]
    fn with_freed(self, bytes: u64) -> Self;
}

impl Usage for EvictedBytes {
    fn has_pressure(&self) -> bool {
        self.freed_bytes < self.evict_bytes
    }

    fn with_freed(self, bytes: u64) -> Self {
        EvictedBytes { freed_bytes: self.freed_bytes + bytes, ..self }
    }
}

impl Usage for super::DiskUsage {
    fn has_pressure(&self) -> bool {
        super::DiskUsage::has_pressure(self)
    }

    fn with_freed(self, bytes: u64) -> Self {
        super::DiskUsage::with_freed(self, bytes)
    }
}

/// What is expected of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Planned<U> {
    /// After evicting only what tenants can do without.
    pub respecting_tenant_min_resident_size: U,
    /// After evicting more than that, if it takes more.
    pub fallback_to_global_lru: Option<U>,
}

/// Chooses, from the front of the sorted candidates, as many as it takes. Returns how many, and
/// what is expected of that.
pub fn select<L, U: Usage>(candidates: &[Candidate<L>], usage: U) -> (usize, Planned<U>) {
    let mut projected = usage;
    let mut respecting = None;
    let mut count = 0;
    for candidate in candidates {
        if !projected.has_pressure() {
            break;
        }
        if candidate.partition == MinResidentSize::Below && respecting.is_none() {
            tracing::warn!(
                "tenant_min_resident_size-respecting LRU would not relieve pressure, evicting more \
                 following global LRU policy"
            );
            respecting = Some(projected);
        }
        projected = projected.with_freed(candidate.size_bytes);
        count += 1;
    }
    let planned = match respecting {
        None => {
            Planned { respecting_tenant_min_resident_size: projected, fallback_to_global_lru: None }
        }
        Some(respecting) => Planned {
            respecting_tenant_min_resident_size: respecting,
            fallback_to_global_lru: Some(projected),
        },
    };
    (count, planned)
}

#[cfg(test)]
mod tests;
