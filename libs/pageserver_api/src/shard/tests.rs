use super::hash::{hash_combine, key_hash, murmur_hash32};
use super::*;
use crate::key::Key;

const TENANT: &str = "11223344556677881122334455667788";

fn block(relnode: u32, block: u32) -> Key {
    Key::new(0, 1663, 5, relnode, 0, block)
}

#[test]
fn the_two_mixing_functions_match_their_vectors() {
    assert_eq!(murmur_hash32(0), 0);
    assert_eq!(murmur_hash32(1), 0x514e_28b7);
    assert_eq!(murmur_hash32(16384), 0x5308_5746);
    assert_eq!(hash_combine(0xb1ff_3b40, 0), 0xfb79_23c9);
}

#[test]
fn keys_map_to_the_shards_of_the_specification() {
    let vectors = [
        (16384, 0, [0, 0, 4, 0], 0x2607_364c),
        (16384, 32768, [1, 3, 7, 1], 0x9555_de87),
        (16384, 65536, [0, 2, 6, 8], 0xf50c_7356),
        (1259, 7, [0, 2, 2, 4], 0xbef6_0bf2),
        (24576, 100_000, [1, 1, 5, 7], 0xac9c_f4a5),
        (16396, 32006, [0, 2, 6, 8], 0x6586_4a36),
    ];
    for (relnode, number, shards, raw) in vectors {
        let key = block(relnode, number);
        assert_eq!(key_hash(&key, DEFAULT_STRIPE_SIZE_PAGES), raw);
        for (count, shard) in [2, 4, 8, 10].into_iter().zip(shards) {
            let identity =
                ShardIdentity::new(ShardNumber(0), ShardCount(count), DEFAULT_STRIPE_SIZE_PAGES)
                    .unwrap();
            assert_eq!(identity.shard_number_of(&key), ShardNumber(shard));
        }
    }
}

#[test]
fn keys_of_shard_zero_are_never_disposable() {
    let identity = ShardIdentity::new(ShardNumber(3), ShardCount(4), 8).unwrap();
    for key in [Key::DB_DIR, Key::CHECKPOINT, Key::new(0, 1663, 5, 16384, 3, 0)] {
        assert!(!identity.is_key_disposable(&key));
        assert!(!identity.is_key_local(&key));
    }
}

#[test]
fn every_block_is_local_to_exactly_one_shard() {
    for number in 0..1000 {
        let key = block(16384, number);
        let owners = (0..4)
            .filter(|shard| {
                ShardIdentity::new(ShardNumber(*shard), ShardCount(4), 8)
                    .unwrap()
                    .is_key_local(&key)
            })
            .count();
        assert_eq!(owners, 1);
    }
}

#[test]
fn contradictory_identities_are_refused() {
    let new =
        |number, count, stripe| ShardIdentity::new(ShardNumber(number), ShardCount(count), stripe);
    assert_eq!(new(0, 0, 8), Err(ShardConfigError::InvalidCount));
    assert_eq!(new(4, 4, 8), Err(ShardConfigError::InvalidNumber { number: 4, count: 4 }));
    assert_eq!(new(0, 4, 0), Err(ShardConfigError::InvalidStripeSize));
}

#[test]
fn the_text_of_an_unsharded_id_is_the_tenant_id() {
    let id: TenantShardId = TENANT.parse().unwrap();
    assert!(id.is_unsharded());
    assert_eq!(id.to_string(), TENANT);
}

#[test]
fn the_text_of_a_sharded_id_ends_with_its_slug() {
    let text = format!("{TENANT}-070a");
    let id: TenantShardId = text.parse().unwrap();
    assert_eq!((id.shard_number, id.shard_count), (ShardNumber(7), ShardCount(10)));
    assert_eq!(id.to_string(), text);
}

#[test]
fn a_count_of_one_keeps_its_suffix() {
    let id: TenantShardId = format!("{TENANT}-0001").parse().unwrap();
    assert!(!id.is_unsharded());
    assert_eq!(id.to_string(), format!("{TENANT}-0001"));
}

#[test]
fn ids_of_other_lengths_are_refused() {
    for text in
        ["", "12", &format!("{TENANT}-"), &format!("{TENANT}-01"), &format!("{TENANT}-01045")]
    {
        assert!(text.parse::<TenantShardId>().is_err(), "{text}");
    }
    assert!("é".repeat(16).parse::<TenantShardId>().is_err());
}

#[test]
fn the_binary_form_round_trips() {
    let id: TenantShardId = format!("{TENANT}-0104").parse().unwrap();
    assert_eq!(TenantShardId::from_slice(&id.to_bytes()), Some(id));
    assert_eq!(TenantShardId::from_slice(&id.to_bytes()[1..]), None);
}

#[test]
fn a_split_keeps_each_key_within_the_children_of_its_parent() {
    let parent: TenantShardId = format!("{TENANT}-0102").parse().unwrap();
    let children: Vec<u8> =
        parent.split(ShardCount(8)).into_iter().map(|child| child.shard_number.0).collect();
    assert_eq!(children, [1, 3, 5, 7]);
    let whole: TenantShardId = TENANT.parse().unwrap();
    assert_eq!(whole.split(ShardCount(4)).len(), 4);
}

#[test]
fn an_index_is_a_slug_in_json() {
    let index = ShardIndex::new(ShardNumber(1), ShardCount(4));
    assert_eq!(serde_json::to_string(&index).unwrap(), "\"0104\"");
    assert_eq!(serde_json::from_str::<ShardIndex>("\"0104\"").unwrap(), index);
    assert_eq!(index.path_suffix(), "-0104");
    assert_eq!(ShardIndex::UNSHARDED.path_suffix(), "");
}

#[test]
fn an_identity_is_a_plain_object_in_json() {
    let json = serde_json::to_value(ShardIdentity::unsharded()).unwrap();
    let expected = serde_json::json!({"number": 0, "count": 0, "stripe_size": 32768, "layout": 1});
    assert_eq!(json, expected);
}
