use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn only_short_residences_count_as_such() {
    let counters = LayerCounters::default();
    counters.record_eviction(HOUR / 2, HOUR);
    counters.record_eviction(HOUR * 2, HOUR);
    assert_eq!((counters.evictions(), counters.soon_evicted(HOUR)), (2, 1));
}

#[test]
fn another_threshold_starts_a_new_count() {
    let counters = LayerCounters::default();
    counters.record_eviction(HOUR / 2, HOUR);
    assert_eq!(counters.soon_evicted(HOUR * 2), 0);
    assert_eq!(counters.evictions(), 1);
}
