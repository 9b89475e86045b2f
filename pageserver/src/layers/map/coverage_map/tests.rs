use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn replacing_ranges_behaves_like_an_ordered_map(
        steps in proptest::collection::vec(
            (0i128..100, 0i128..50, proptest::collection::btree_set(0i128..50, 0..8)), 1..40,
        ),
        probe in 0i128..160,
    ) {
        let mut model: BTreeMap<i128, usize> = BTreeMap::new();
        let mut map = CoverageMap::default();
        let mut history = Vec::new();
        for (step, (start, length, offsets)) in steps.into_iter().enumerate() {
            let keys = start..start + length;
            let new: Vec<_> = offsets
                .into_iter()
                .map(|offset| (start + offset, step))
                .filter(|(key, _)| keys.contains(key))
                .collect();
            map = map.with_range_replaced(keys.clone(), new.clone());
            model.retain(|key, _| !keys.contains(key));
            model.extend(new);
            history.push((map.clone(), model.clone()));
        }
        // Older versions are unaffected by later changes.
        for (map, model) in history {
            let all: Vec<_> = map.range(0..1000).map(|(k, v)| (k, *v)).collect();
            prop_assert_eq!(all, model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            let floor = map.floor(probe).map(|(k, v)| (k, *v));
            prop_assert_eq!(floor, model.range(..=probe).next_back().map(|(k, v)| (*k, *v)));
            let some: Vec<_> = map.range(probe / 2..probe).map(|(k, _)| k).collect();
            let expected: Vec<_> = model.range(probe / 2..probe).map(|(k, _)| *k).collect();
            prop_assert_eq!(some, expected);
        }
    }
}

#[test]
fn ascending_insertion_does_not_degenerate() {
    let mut map = CoverageMap::default();
    for key in 0..20_000 {
        map = map.with_range_replaced(key..key + 1, vec![(key, key)]);
    }
    fn depth<V>(tree: &Tree<V>) -> usize {
        tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }
    assert!(depth(&map.0) < 60, "depth {}", depth(&map.0));
}
