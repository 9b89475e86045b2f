//! A shard's own view of the partition: which keys are its own.

use serde::{Deserialize, Serialize};

use crate::key::Key;

use super::{ShardCount, ShardIndex, ShardNumber, TenantShardId, hash};

/// Pages per stripe when nothing else was asked for: 256 MiB.
pub const DEFAULT_STRIPE_SIZE_PAGES: u32 = 32768;

/// The only layout there is.
const LAYOUT_V1: u8 = 1;

/// The shard parameters contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShardConfigError {
    /// A sharded identity needs at least one shard.
    #[error("invalid shard count 0: a sharded tenant has at least one shard")]
    InvalidCount,
    /// The number is not below the count.
    #[error("invalid shard number {number}: with {count} shards it must be below {count}")]
    InvalidNumber {
        /// The number as given.
        number: u8,
        /// The count as given.
        count: u8,
    },
    /// A stripe holds at least one page.
    #[error("invalid shard stripe size 0: it is a number of 8 KiB pages and must be positive")]
    InvalidStripeSize,
}

/// A shard's number, the number of its siblings, and how keys are spread over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShardIdentity {
    /// Position among the siblings.
    pub number: ShardNumber,
    /// Number of siblings.
    pub count: ShardCount,
    /// Pages of a relation that stay together on one shard.
    pub stripe_size: u32,
    /// Version of the mapping; 1.
    layout: u8,
}

impl Default for ShardIdentity {
    fn default() -> Self {
        Self::unsharded()
    }
}

impl ShardIdentity {
    /// The identity of a tenant that was never sharded.
    pub const fn unsharded() -> Self {
        ShardIdentity {
            number: ShardNumber(0),
            count: ShardCount::UNSHARDED,
            stripe_size: DEFAULT_STRIPE_SIZE_PAGES,
            layout: LAYOUT_V1,
        }
    }

    /// The identity of one shard of `count`.
    pub fn new(
        number: ShardNumber,
        count: ShardCount,
        stripe_size: u32,
    ) -> Result<Self, ShardConfigError> {
        if count.0 == 0 {
            Err(ShardConfigError::InvalidCount)
        } else if number.0 >= count.0 {
            Err(ShardConfigError::InvalidNumber { number: number.0, count: count.0 })
        } else if stripe_size == 0 {
            Err(ShardConfigError::InvalidStripeSize)
        } else {
            Ok(ShardIdentity { number, count, stripe_size, layout: LAYOUT_V1 })
        }
    }

    /// Whether the tenant was never sharded.
    pub const fn is_unsharded(&self) -> bool {
        self.count.is_unsharded()
    }

    /// Whether this shard holds everything that is not a relation block.
    pub const fn is_shard_zero(&self) -> bool {
        self.number.0 == 0
    }

    /// Number and count, without the stripe size.
    pub const fn shard_index(&self) -> ShardIndex {
        ShardIndex::new(self.number, self.count)
    }

    /// Suffix of paths: empty when unsharded.
    pub fn path_suffix(&self) -> String {
        self.shard_index().path_suffix()
    }

    /// Names this shard of `tenant_id`.
    pub const fn tenant_shard_id(&self, tenant_id: utils::TenantId) -> TenantShardId {
        TenantShardId { tenant_id, shard_number: self.number, shard_count: self.count }
    }

    /// The shard that owns the key.
    pub const fn shard_number_of(&self, key: &Key) -> ShardNumber {
        hash::key_to_shard_number(self.count, self.stripe_size, key)
    }

    /// Whether this shard answers reads of the key.
    pub const fn is_key_local(&self, key: &Key) -> bool {
        self.count.0 < 2 || self.shard_number_of(key).0 == self.number.0
    }

    /// Whether this shard may drop data of the key: another shard owns it, and this shard has no
    /// use for it. Keys of shard 0 are never disposable because ingest on every shard reads
    /// relation sizes and directories.
    pub const fn is_key_disposable(&self, key: &Key) -> bool {
        self.count.0 >= 2 && !hash::belongs_on_shard_zero(key) && !self.is_key_local(key)
    }
}
