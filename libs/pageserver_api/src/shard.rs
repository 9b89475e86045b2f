//! Shards: how one tenant's keys are spread over several pageservers.
//!
//! Owns the identifiers (`TenantShardId`, `ShardIndex`, `ShardIdentity`) and their text and binary
//! forms. Which shard holds a key is decided in [`hash`]. Format: docs/formats/keys.md.

pub mod hash;
mod identity;
mod tenant_shard_id;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use identity::{DEFAULT_STRIPE_SIZE_PAGES, ShardConfigError, ShardIdentity};
pub use tenant_shard_id::TenantShardId;

/// Position of a shard among its siblings, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ShardNumber(pub u8);

/// Number of shards of a tenant. Zero means *unsharded*: names carry no shard suffix.
/// It acts as one shard in arithmetic but is distinct from a count of one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ShardCount(pub u8);

impl ShardCount {
    /// The count of a tenant that was never sharded.
    pub const UNSHARDED: ShardCount = ShardCount(0);

    /// How many shards there are: at least one.
    pub const fn count(self) -> u8 {
        if self.0 == 0 { 1 } else { self.0 }
    }

    /// Whether names carry no shard suffix.
    pub const fn is_unsharded(self) -> bool {
        self.0 == 0
    }
}

/// A shard's number and count, without the tenant: what layer metadata stores.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex {
    /// Position among the siblings.
    pub number: ShardNumber,
    /// Number of siblings.
    pub count: ShardCount,
}

impl ShardIndex {
    /// The index of a tenant that was never sharded.
    pub const UNSHARDED: ShardIndex =
        ShardIndex { number: ShardNumber(0), count: ShardCount::UNSHARDED };

    /// Joins the two parts.
    pub const fn new(number: ShardNumber, count: ShardCount) -> Self {
        ShardIndex { number, count }
    }

    /// Whether this is the index of an unsharded tenant.
    pub const fn is_unsharded(&self) -> bool {
        self.count.is_unsharded()
    }

    /// Suffix of paths: empty when unsharded, else a dash and the four-digit slug.
    pub fn path_suffix(&self) -> String {
        if self.is_unsharded() { String::new() } else { format!("-{self}") }
    }
}

/// The slug: number and count as two hexadecimal digits each, such as `0104`.
impl fmt::Display for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}", self.number.0, self.count.0)
    }
}

impl fmt::Debug for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text does not name a shard.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid {kind} {text:?}: expected {expected}")]
pub struct ShardParseError {
    /// What was being parsed.
    pub kind: &'static str,
    /// The text as received.
    pub text: String,
    /// The form that is accepted.
    pub expected: &'static str,
}

impl FromStr for ShardIndex {
    type Err = ShardParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 2];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ShardParseError {
            kind: "shard index",
            text: text.to_owned(),
            expected: "four hexadecimal digits",
        })?;
        let [number, count] = bytes;
        Ok(ShardIndex { number: ShardNumber(number), count: ShardCount(count) })
    }
}

impl Serialize for ShardIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShardIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
