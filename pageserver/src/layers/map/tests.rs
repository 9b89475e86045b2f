use proptest::prelude::*;

use super::*;

fn key(n: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, n)
}

fn delta(keys: Range<u32>, lsns: Range<u64>) -> LayerName {
    LayerName::delta(key(keys.start)..key(keys.end), Lsn(lsns.start)..Lsn(lsns.end))
}

fn image(keys: Range<u32>, lsn: u64) -> LayerName {
    LayerName::image(key(keys.start)..key(keys.end), Lsn(lsn))
}

fn l0(lsns: Range<u64>) -> LayerName {
    LayerName::delta(Key::MIN..Key::MAX, Lsn(lsns.start)..Lsn(lsns.end))
}

fn map_of(layers: impl IntoIterator<Item = LayerName>) -> LayerMap {
    let mut map = LayerMap::default();
    let mut batch = map.batch_update();
    for layer in layers {
        batch.insert(layer);
    }
    drop(batch);
    map
}

/// Checks a search; `expected` is the layer and the floor.
fn check(map: &LayerMap, at: u32, end_lsn: u64, expected: Option<(LayerName, u64)>) {
    let expected = expected
        .map(|(layer, floor)| SearchResult { layer: Arc::new(layer), lsn_floor: Lsn(floor) });
    assert_eq!(map.search(key(at), Lsn(end_lsn)), expected, "key {at} below {end_lsn}");
}

#[test]
fn an_empty_map_finds_nothing() {
    check(&LayerMap::default(), 0, 100, None);
}

#[test]
fn a_delta_is_read_down_to_the_image_inside_it() {
    let map = map_of([delta(0..10, 10..30), image(0..10, 20)]);
    check(&map, 5, 31, Some((delta(0..10, 10..30), 21)));
    check(&map, 5, 21, Some((image(0..10, 20), 20)));
    check(&map, 5, 20, Some((delta(0..10, 10..30), 10)));
    check(&map, 5, 10, None);
}

#[test]
fn an_image_newer_than_the_delta_wins() {
    let map = map_of([delta(0..10, 10..30), image(0..10, 40)]);
    check(&map, 5, 100, Some((image(0..10, 40), 40)));
    check(&map, 10, 100, None);
}

#[test]
fn removing_a_layer_uncovers_what_lies_below() {
    let mut map = map_of([delta(0..10, 10..20), delta(0..5, 20..30)]);
    check(&map, 3, 40, Some((delta(0..5, 20..30), 20)));
    map.batch_update().remove(&delta(0..5, 20..30));
    check(&map, 3, 40, Some((delta(0..10, 10..20), 10)));
    assert_eq!(map.len(), 1);
}

#[test]
fn l0_deltas_are_listed_oldest_first() {
    let map = map_of([l0(30..40), l0(10..20), delta(0..10, 5..9), l0(20..30)]);
    let lsns: Vec<_> = map.l0_deltas().map(|layer| layer.lsn_range().start.0).collect();
    assert_eq!(lsns, [10, 20, 30]);
}

#[test]
fn stacked_deltas_are_counted_up_to_the_limit() {
    let map = map_of([delta(0..10, 10..20), delta(0..10, 20..30), delta(0..5, 30..40), l0(40..50)]);
    let count = |keys: Range<u32>, lsns: Range<u64>, limit| {
        map.count_deltas(
            &(key(keys.start)..key(keys.end)),
            &(Lsn(lsns.start)..Lsn(lsns.end)),
            limit,
        )
    };
    assert_eq!(count(0..10, 0..100, 10), 3);
    assert_eq!(count(5..10, 0..100, 10), 2);
    assert_eq!(count(0..10, 20..100, 10), 2);
    assert_eq!(count(0..10, 0..100, 2), 2);
    assert_eq!(map.count_deltas(&(Key::MIN..Key::MAX), &(Lsn(0)..Lsn(100)), 10), 4);
}

#[test]
fn image_coverage_names_the_newest_image_of_each_part() {
    let map = map_of([image(0..10, 20), image(5..15, 30)]);
    let coverage = map.image_coverage(&(key(0)..key(20)), Lsn(100));
    let parts: Vec<_> = coverage
        .into_iter()
        .map(|(keys, image)| {
            (keys.start.field6..keys.end.field6, image.map(|i| i.lsn_range().start.0))
        })
        .collect();
    assert_eq!(parts, [(0..5, Some(20)), (5..15, Some(30)), (15..20, None)]);
    assert!(map.image_layer_exists(&(key(0)..key(15)), &(Lsn(20)..Lsn(100))));
    assert!(!map.image_layer_exists(&(key(0)..key(15)), &(Lsn(21)..Lsn(100))));
    assert!(!map.image_layer_exists(&(key(0)..key(16)), &(Lsn(0)..Lsn(100))));
}

/// Looks at every layer: what the map must agree with.
fn naive_search(layers: &[LayerName], at: Key, end_lsn: Lsn) -> Option<(LayerName, Lsn)> {
    let newest = |is_delta: bool| {
        layers
            .iter()
            .filter(|l| l.is_delta() == is_delta)
            .filter(|l| l.key_range().contains(&at) && l.lsn_range().start < end_lsn)
            .map(|l| l.lsn_range().end)
            .max()
    };
    let floor_of = |is_delta: bool, end: Lsn| {
        layers.iter().find(|l| {
            l.is_delta() == is_delta
                && l.key_range().contains(&at)
                && l.lsn_range().end == end
                && l.lsn_range().start < end_lsn
        })
    };
    match (newest(true), newest(false)) {
        (None, None) => None,
        (Some(end), None) => floor_of(true, end).map(|l| (l.clone(), l.lsn_range().start)),
        (None, Some(end)) => floor_of(false, end).map(|l| (l.clone(), l.lsn_range().start)),
        (Some(delta), Some(image)) if image >= delta || image == end_lsn => {
            floor_of(false, image).map(|l| (l.clone(), l.lsn_range().start))
        }
        (Some(delta), Some(image)) => {
            floor_of(true, delta).map(|l| (l.clone(), l.lsn_range().start.max(image)))
        }
    }
}

fn any_layer() -> impl Strategy<Value = LayerName> {
    (0u32..20, 1u32..10, 1u64..40, 1u64..8, any::<bool>()).prop_map(
        |(start, keys, lsn, lsns, is_delta)| match is_delta {
            true => delta(start..start + keys, lsn..lsn + lsns),
            false => image(start..start + keys, lsn),
        },
    )
}

proptest! {
    #[test]
    fn searches_agree_with_looking_at_every_layer(
        layers in proptest::collection::btree_set(any_layer(), 1..40),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        batch_size in 1usize..10,
    ) {
        let mut layers: Vec<_> = layers.into_iter().collect();
        let mut map = LayerMap::default();
        for batch in layers.chunks(batch_size) {
            let mut update = map.batch_update();
            batch.iter().for_each(|layer| update.insert(layer.clone()));
        }
        for index in removed {
            if !layers.is_empty() {
                let layer = layers.remove(index.index(layers.len()));
                map.batch_update().remove(&layer);
            }
        }
        for at in 0..30 {
            for end_lsn in (1..50).map(Lsn) {
                let found = map.search(key(at), end_lsn);
                let found = found.map(|r| (r.layer.is_delta(), r.layer.lsn_range().end, r.lsn_floor));
                let naive = naive_search(&layers, key(at), end_lsn);
                // Several layers may share an end; the kind and the end are what matters.
                let naive_kind = naive.as_ref().map(|(l, _)| (l.is_delta(), l.lsn_range().end));
                prop_assert_eq!(found.map(|(d, e, _)| (d, e)), naive_kind);
            }
        }
        for end_lsn in (1..50).map(Lsn) {
            let result = map.range_search(&(key(0)..key(30)), end_lsn);
            for at in 0..30 {
                let covering: Vec<_> = result
                    .found
                    .iter()
                    .filter(|(_, keys)| keys.contains(&key(at)))
                    .map(|(found, _)| found.clone())
                    .collect();
                prop_assert_eq!(covering, Vec::from_iter(map.search(key(at), end_lsn)));
            }
        }
    }
}
