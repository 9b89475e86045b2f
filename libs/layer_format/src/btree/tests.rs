use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::block::{BLOCK_SIZE, MemoryBlocks};

fn build<const L: usize>(entries: &BTreeMap<[u8; L], u64>) -> BuiltTree {
    let mut builder = BTreeBuilder::<L>::new();
    for (key, value) in entries {
        builder.append(key, *value).unwrap();
    }
    builder.finish().unwrap()
}

fn open<const L: usize>(tree: &BuiltTree) -> BTreeReader<MemoryBlocks, L> {
    BTreeReader::new(MemoryBlocks::new("tree", tree.blocks.clone()), 0, tree.root_block)
}

fn entries_from<const L: usize>(
    reader: &BTreeReader<MemoryBlocks, L>,
    key: &[u8; L],
) -> Vec<([u8; L], u64)> {
    let mut cursor = reader.seek(key).unwrap();
    std::iter::from_fn(|| cursor.next_entry().unwrap()).collect()
}

#[test]
fn an_empty_index_cannot_be_written() {
    assert_eq!(BTreeBuilder::<4>::new().finish().unwrap_err(), BTreeBuilderError::Empty);
}

#[test]
fn keys_must_ascend() {
    let mut builder = BTreeBuilder::<2>::new();
    builder.append(&[0, 2], 1).unwrap();
    let error = builder.append(&[0, 2], 2).unwrap_err();
    assert!(error.to_string().starts_with("Unsorted input"), "{error}");
}

#[test]
fn values_beyond_the_format_are_refused() {
    let mut builder = BTreeBuilder::<2>::new();
    let error = builder.append(&[0, 2], MAX_LEAF_VALUE + 1).unwrap_err();
    assert_eq!(error, BTreeBuilderError::ValueTooLarge(MAX_LEAF_VALUE + 1));
}

#[test]
fn a_single_entry_is_a_leaf_root() {
    let tree = build(&BTreeMap::from([([1, 2, 3, 4], 42)]));
    assert_eq!(tree.blocks.len(), BLOCK_SIZE);
    assert_eq!(tree.root_block, 0);
    assert_eq!(tree.blocks[..14], [0, 1, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 42]);
}

#[test]
fn a_cursor_starts_at_the_first_key_not_below_the_wanted_one() {
    let entries = (0..100_000u32).map(|n| ((n * 2).to_be_bytes(), u64::from(n))).collect();
    let tree = build(&entries);
    let reader = open::<4>(&tree);
    for wanted in [0u32, 1, 2, 1999, 2000, 131_071, 131_072, 199_997, 199_998] {
        let mut cursor = reader.seek(&wanted.to_be_bytes()).unwrap();
        let (key, value) = cursor.next_entry().unwrap().unwrap();
        assert_eq!(u32::from_be_bytes(key), wanted.next_multiple_of(2));
        assert_eq!(value, u64::from(wanted.div_ceil(2)));
    }
    assert!(reader.seek(&199_999u32.to_be_bytes()).unwrap().next_entry().unwrap().is_none());
}

#[test]
fn a_child_of_the_wrong_level_is_an_error() {
    let entries = (0..100_000u32).map(|n| (n.to_be_bytes(), 1)).collect();
    let mut tree = build::<4>(&entries);
    tree.blocks[2] = 1;
    let error = match open::<4>(&tree).seek(&[0; 4]) {
        Err(error) => error,
        Ok(_) => panic!("the first leaf pretends to be an inner node"),
    };
    assert!(error.to_string().contains("level 1, expected 0"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_entry_is_found_again(
        entries in proptest::collection::btree_map(any::<[u8; 6]>(), 0..=MAX_LEAF_VALUE, 1..4000),
        shared: [u8; 3],
        wanted: [u8; 6],
    ) {
        // Half of the keys share a prefix so that compression happens.
        let entries: BTreeMap<[u8; 6], u64> = entries
            .into_iter()
            .map(|([a, b, c, d, e, f], value)| match a & 1 {
                0 => ([shared[0], shared[1], shared[2], d, e, f], value),
                _ => ([a, b, c, d, e, f], value),
            })
            .collect();
        let tree = build(&entries);
        let reader = open::<6>(&tree);
        let expected: Vec<_> = entries.range(wanted..).map(|(k, v)| (*k, *v)).collect();
        prop_assert_eq!(entries_from(&reader, &wanted), expected);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, level in 0u8..3, prefix in 0u8..5) {
        let mut blocks = bytes.repeat(20_000 / bytes.len().max(1));
        blocks.resize(3 * BLOCK_SIZE, 0);
        for block in 0..3 {
            let at = block * BLOCK_SIZE;
            blocks[at + 1] |= 1;
            blocks[at + 2] = level.saturating_sub(block as u8);
            blocks[at + 3] = prefix;
            blocks[at + 4] = 4u8.saturating_sub(prefix);
        }
        let reader = BTreeReader::<_, 4>::new(MemoryBlocks::new("tree", blocks), 0, 0);
        if let Ok(mut cursor) = reader.seek(&[0; 4]) {
            for _ in 0..10_000 {
                match cursor.next_entry() {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }
}
