//! `TenantShardId`: one shard of one tenant, the unit that pageservers attach.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utils::TenantId;

use super::{ShardCount, ShardIndex, ShardNumber, ShardParseError};

/// Length of the binary form in bytes.
const BINARY_LEN: usize = 18;
/// Length of the text of an unsharded id.
const TENANT_TEXT_LEN: usize = 32;
/// Length of the text of a sharded id.
const SHARDED_TEXT_LEN: usize = 37;

/// One shard of a tenant. Written as the tenant id alone when unsharded, else as
/// `<tenant>-<slug>`, for example `...-0104` for shard 1 of 4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantShardId {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Position among the siblings.
    pub shard_number: ShardNumber,
    /// Number of siblings; 0 when unsharded.
    pub shard_count: ShardCount,
}

impl TenantShardId {
    /// The whole of a tenant that was never sharded.
    pub const fn unsharded(tenant_id: TenantId) -> Self {
        TenantShardId {
            tenant_id,
            shard_number: ShardNumber(0),
            shard_count: ShardCount::UNSHARDED,
        }
    }

    /// Whether the tenant was never sharded.
    pub const fn is_unsharded(&self) -> bool {
        self.shard_count.is_unsharded()
    }

    /// Whether this shard holds everything that is not a relation block.
    pub const fn is_shard_zero(&self) -> bool {
        self.shard_number.0 == 0
    }

    /// Number and count, without the tenant.
    pub const fn to_index(&self) -> ShardIndex {
        ShardIndex::new(self.shard_number, self.shard_count)
    }

    /// The four-digit slug, also for unsharded ids (log fields).
    pub fn shard_slug(&self) -> String {
        self.to_index().to_string()
    }

    /// The children when the tenant is split into `new_count` shards: those whose number is
    /// congruent to ours. `new_count` must be a multiple of the current count.
    pub fn split(&self, new_count: ShardCount) -> Vec<TenantShardId> {
        let old_count = self.shard_count.count();
        (0..new_count.count())
            .filter(|child| child % old_count == self.shard_number.0)
            .map(|child| TenantShardId {
                tenant_id: self.tenant_id,
                shard_number: ShardNumber(child),
                shard_count: new_count,
            })
            .collect()
    }

    /// Binary form: tenant, number, count.
    pub fn to_bytes(&self) -> [u8; BINARY_LEN] {
        let mut bytes = [0; BINARY_LEN];
        bytes[..16].copy_from_slice(self.tenant_id.as_bytes());
        bytes[16] = self.shard_number.0;
        bytes[17] = self.shard_count.0;
        bytes
    }

    /// Reads the binary form; `None` unless it is exactly 18 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let (tenant, shard) = bytes.split_at_checked(16)?;
        let [number, count] = shard.try_into().ok()?;
        Some(TenantShardId {
            tenant_id: TenantId::from_slice(tenant)?,
            shard_number: ShardNumber(number),
            shard_count: ShardCount(count),
        })
    }
}

impl fmt::Display for TenantShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.tenant_id, self.to_index().path_suffix())
    }
}

impl fmt::Debug for TenantShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TenantShardId {
    type Err = ShardParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ShardParseError {
            kind: "tenant shard id",
            text: text.to_owned(),
            expected: "32 hexadecimal digits, or those, a dash and 4 more",
        };
        let tenant = |digits: Option<&str>| -> Result<TenantId, ShardParseError> {
            digits.ok_or_else(error)?.parse().map_err(|_| error())
        };
        match text.len() {
            TENANT_TEXT_LEN => Ok(TenantShardId::unsharded(tenant(Some(text))?)),
            SHARDED_TEXT_LEN => {
                let tenant_id = tenant(text.get(..TENANT_TEXT_LEN))?;
                let slug = text.get(TENANT_TEXT_LEN + 1..).ok_or_else(error)?;
                let index: ShardIndex = slug.parse().map_err(|_| error())?;
                Ok(TenantShardId {
                    tenant_id,
                    shard_number: index.number,
                    shard_count: index.count,
                })
            }
            _ => Err(error()),
        }
    }
}

impl Serialize for TenantShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TenantShardId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TenantShardId {
    fn schema_name() -> Cow<'static, str> {
        "TenantShardId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-fA-F]{32}(-[0-9a-fA-F]{4})?$",
            "description": "One shard of a tenant: number and count follow the tenant",
        })
    }
}
