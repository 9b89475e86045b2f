//! The hash that maps a relation block to a shard.
//!
//! Clients route page requests with the same function, so it must never change: it is
//! PostgreSQL's `murmurhash32` and `hash_combine` over the relation and the stripe number.
//! Tablespace, database and fork do not take part.

use crate::key::Key;

use super::{ShardCount, ShardNumber};

/// Finalising mix of 32-bit MurmurHash3.
pub const fn murmur_hash32(data: u32) -> u32 {
    let mut hash = data;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    hash
}

/// Folds the hash `b` into `a`.
pub const fn hash_combine(a: u32, b: u32) -> u32 {
    let mut mixed = b;
    mixed = mixed.wrapping_add(0x9e37_79b9);
    mixed = mixed.wrapping_add(a << 6);
    mixed = mixed.wrapping_add(a >> 2);
    a ^ mixed
}

/// The hash of a relation block, before it is reduced to a shard number.
/// `stripe_size_pages` must not be zero.
pub const fn key_hash(key: &Key, stripe_size_pages: u32) -> u32 {
    let relation = murmur_hash32(key.field4);
    let stripe = murmur_hash32(key.field6 / stripe_size_pages);
    hash_combine(relation, stripe)
}

/// Whether the key always lives on shard 0: everything but relation blocks, and the init fork.
pub const fn belongs_on_shard_zero(key: &Key) -> bool {
    const INIT_FORK: u8 = 3;
    !key.is_rel_block() || key.field5 == INIT_FORK
}

/// The shard that owns the key when a tenant has `count` shards.
pub const fn key_to_shard_number(
    count: ShardCount,
    stripe_size_pages: u32,
    key: &Key,
) -> ShardNumber {
    if count.0 < 2 || belongs_on_shard_zero(key) {
        return ShardNumber(0);
    }
    ShardNumber((key_hash(key, stripe_size_pages) % count.0 as u32) as u8)
}
