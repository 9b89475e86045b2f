use super::*;
use crate::shard::{ShardCount, ShardIdentity, ShardNumber};

fn key(block: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, block)
}

fn space(ranges: &[(u32, u32)]) -> KeySpace {
    KeySpace { ranges: ranges.iter().map(|(start, end)| key(*start)..key(*end)).collect() }
}

fn shard(number: u8, count: u8) -> ShardIdentity {
    ShardIdentity::new(ShardNumber(number), ShardCount(count), 8).unwrap()
}

#[test]
fn ordered_input_joins_ranges_that_touch() {
    let mut accumulator = KeySpaceAccum::default();
    for block in [1, 2, 3, 7] {
        accumulator.add_key(key(block));
    }
    assert_eq!(accumulator.into_keyspace(), space(&[(1, 4), (7, 8)]));
}

#[test]
fn unordered_input_joins_overlaps() {
    let mut accumulator = KeySpaceRandomAccum::default();
    for (start, end) in [(5, 9), (1, 3), (8, 12), (3, 4), (2, 3)] {
        accumulator.add_range(key(start)..key(end));
    }
    assert_eq!(accumulator.into_keyspace(), space(&[(1, 4), (5, 12)]));
}

#[test]
fn membership_respects_the_open_end() {
    let set = space(&[(1, 4), (7, 8)]);
    for (block, inside) in [(0, false), (1, true), (3, true), (4, false), (7, true), (8, false)] {
        assert_eq!(set.contains(&key(block)), inside, "{block}");
    }
    assert!(set.overlaps(&(key(3)..key(5))));
    assert!(!set.overlaps(&(key(4)..key(7))));
}

#[test]
fn intersection_keeps_the_common_keys() {
    let common = space(&[(0, 10), (20, 30)]).intersection(&space(&[(5, 22), (25, 26), (40, 41)]));
    assert_eq!(common, space(&[(5, 10), (20, 22), (25, 26)]));
}

#[test]
fn removal_leaves_holes_and_returns_what_was_there() {
    let mut set = space(&[(0, 10), (20, 30)]);
    let removed = set.remove_overlapping_with(&space(&[(3, 5), (8, 21)]));
    assert_eq!(removed, space(&[(3, 5), (8, 10), (20, 21)]));
    assert_eq!(set, space(&[(0, 3), (5, 8), (21, 30)]));
}

#[test]
fn a_merge_is_a_union() {
    let mut set = space(&[(0, 3), (8, 9)]);
    set.merge(&space(&[(3, 5), (20, 21)]));
    assert_eq!(set, space(&[(0, 5), (8, 9), (20, 21)]));
}

#[test]
fn ranges_over_several_objects_have_no_known_size() {
    assert_eq!(raw_size(&(key(3)..key(10))), 7);
    assert_eq!(raw_size(&(Key::MIN..Key::MAX)), SIZE_UNKNOWN);
}

#[test]
fn an_unsharded_range_is_cut_into_equal_pieces() {
    let identity = ShardIdentity::unsharded();
    let pieces = ShardedRange::new(key(0)..key(25), &identity).fragment(10);
    let expected = vec![(10, key(0)..key(10)), (10, key(10)..key(20)), (5, key(20)..key(25))];
    assert_eq!(pieces, expected);
}

#[test]
fn the_shards_page_counts_add_up() {
    let range = key(3)..key(1003);
    let total: u32 =
        (0..4).map(|number| ShardedRange::new(range.clone(), &shard(number, 4)).page_count()).sum();
    assert_eq!(total, 1000);
}

#[test]
fn pieces_cover_the_range_and_count_only_local_pages() {
    let identity = shard(1, 4);
    let sharded = ShardedRange::new(key(0)..key(1000), &identity);
    let pages = sharded.page_count();
    let pieces = sharded.fragment(16);
    assert_eq!(pieces.iter().map(|(count, _)| count).sum::<u32>(), pages);
    let mut cursor = key(0);
    for (count, piece) in pieces {
        assert!(count <= 16);
        assert_eq!(piece.start, cursor);
        cursor = piece.end;
    }
    assert_eq!(cursor, key(1000));
}

#[test]
fn a_partition_closes_a_part_when_the_target_is_passed() {
    let parts =
        space(&[(0, 6), (10, 16), (20, 26)]).partition(&ShardIdentity::unsharded(), 12 * 8192);
    assert_eq!(parts, [space(&[(0, 6), (10, 16)]), space(&[(20, 26)])]);
}

#[test]
fn an_empty_range_yields_no_piece() {
    let identity = ShardIdentity::unsharded();
    assert!(ShardedRange::new(key(5)..key(5), &identity).fragment(10).is_empty());
}
