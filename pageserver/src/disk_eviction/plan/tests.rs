use std::time::Duration;

use super::*;

const ABSOLUTE: EvictionOrder = EvictionOrder::AbsoluteAccessed;

fn relative(highest_layer_count_loses_first: bool) -> EvictionOrder {
    EvictionOrder::RelativeAccessed(RelativeAccessed { highest_layer_count_loses_first })
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// Layers of 10 bytes used at these seconds, named by tenant and second.
fn tenant(
    name: &'static str,
    seconds: impl IntoIterator<Item = u64>,
    min_resident_bytes: Option<u64>,
) -> TenantLayers<(&'static str, u64)> {
    let layers = seconds.into_iter().map(|second| (10, at(second), (name, second))).collect();
    TenantLayers { layers, min_resident_bytes, evicted_before: 0 }
}

fn sorted(
    tenants: Vec<TenantLayers<(&'static str, u64)>>,
    order: EvictionOrder,
) -> Vec<Candidate<(&'static str, u64)>> {
    let mut all: Vec<_> = tenants.into_iter().flat_map(|t| t.into_candidates(order)).collect();
    sort(&mut all, order);
    all
}

fn names(candidates: &[Candidate<(&'static str, u64)>]) -> Vec<(&'static str, u64)> {
    candidates.iter().map(|candidate| candidate.layer).collect()
}

#[test]
fn the_absolute_order_takes_the_oldest_of_all_tenants() {
    let tenants = vec![tenant("a", [1, 4], None), tenant("b", [2, 3], None)];
    let order = [("a", 1), ("b", 2), ("b", 3), ("a", 4)];
    assert_eq!(names(&sorted(tenants, ABSOLUTE)), order);
}

#[test]
fn what_a_tenant_should_keep_goes_last() {
    // The newest layer, and the one that begins within the minimum, are kept.
    let tenants = vec![tenant("a", [1, 2, 3], Some(10)), tenant("cache", [9], None)];
    let all = sorted(tenants, ABSOLUTE);
    assert_eq!(names(&all), [("a", 1), ("cache", 9), ("a", 2), ("a", 3)]);
    assert_eq!(all[1].partition, MinResidentSize::Above);
    assert_eq!(all[2].partition, MinResidentSize::Below);
}

#[test]
fn the_relative_order_lets_tenants_with_many_layers_lose_first() {
    let tenants = vec![tenant("few", [1, 2], None), tenant("many", [5, 6, 7, 8], None)];
    let all = sorted(tenants, relative(true));
    assert_eq!(names(&all)[..2], [("many", 5), ("few", 1)]);
    assert_eq!(all[0].relative, 0.25);
}

#[test]
fn the_other_relative_order_lets_every_tenant_lose_its_oldest_first() {
    let tenants = vec![tenant("few", [1, 2], None), tenant("many", [5, 6, 7, 8], None)];
    let all = sorted(tenants, relative(false));
    let mut first = names(&all)[..2].to_vec();
    first.sort_unstable();
    assert_eq!(first, [("few", 1), ("many", 5)]);
    assert_eq!((all[0].relative, all[1].relative), (0.0, 0.0));
}

#[test]
fn layers_evicted_before_keep_the_rank_of_a_cache() {
    let mut cache = tenant("cache", [1], None);
    cache.evicted_before = 3;
    assert_eq!(cache.into_candidates(relative(true))[0].relative, 1.0);
}

#[test]
fn a_single_layer_has_a_rank() {
    for order in [relative(true), relative(false)] {
        let candidates = tenant("a", [1], None).into_candidates(order);
        assert_eq!(candidates[0].relative, 1.0);
    }
}

#[test]
fn selection_stops_when_enough_would_be_freed() {
    let all = sorted(vec![tenant("a", 0..10, None)], ABSOLUTE);
    let usage = EvictedBytes { evict_bytes: 25, freed_bytes: 0 };
    let (count, planned) = select(&all, usage);
    assert_eq!(count, 3);
    assert_eq!(planned.respecting_tenant_min_resident_size.freed_bytes, 30);
    assert_eq!(planned.fallback_to_global_lru, None);
}

#[test]
fn selection_says_when_it_takes_what_tenants_should_keep() {
    let all = sorted(vec![tenant("a", 0..3, Some(10))], ABSOLUTE);
    let (count, planned) = select(&all, EvictedBytes { evict_bytes: 20, freed_bytes: 0 });
    assert_eq!(count, 2);
    assert_eq!(planned.respecting_tenant_min_resident_size.freed_bytes, 10);
    assert_eq!(planned.fallback_to_global_lru.unwrap().freed_bytes, 20);
}
