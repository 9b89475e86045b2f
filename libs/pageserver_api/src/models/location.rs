//! Where a tenant shard lives, and in which role: the body of `location_config`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utils::NodeId;

use crate::shard::TenantShardId;

use super::tenant_config::TenantConfigOverrides;

/// The role of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocationConfigMode {
    /// The only attached location: uploads, deletes, compacts.
    AttachedSingle,
    /// One of several during a migration: uploads but does not delete.
    AttachedMulti,
    /// About to be replaced: neither uploads nor deletes.
    AttachedStale,
    /// A warm or cold cache that serves nobody.
    Secondary,
    /// Not here.
    Detached,
}

/// Options of a secondary location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondaryConfig {
    /// Whether it keeps downloading layers.
    pub warm: bool,
}

/// Body of `PUT /v1/tenant/:id/location_config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocationConfig {
    /// The role.
    pub mode: LocationConfigMode,
    /// The generation to attach in. Needed by the attached modes, refused by `Secondary`.
    #[serde(default)]
    pub generation: Option<u32>,
    /// Options of the secondary mode.
    #[serde(default)]
    pub secondary_conf: Option<SecondaryConfig>,
    /// Position among the siblings.
    #[serde(default)]
    pub shard_number: u8,
    /// Number of siblings; 0 when unsharded.
    #[serde(default)]
    pub shard_count: u8,
    /// Pages per stripe; needed when sharded.
    #[serde(default)]
    pub shard_stripe_size: u32,
    /// The tenant's own options.
    pub tenant_conf: TenantConfigOverrides,
}

impl LocationConfig {
    /// An unsharded location attached alone in `generation`.
    pub fn attached_single(generation: u32, tenant_conf: TenantConfigOverrides) -> Self {
        LocationConfig {
            mode: LocationConfigMode::AttachedSingle,
            generation: Some(generation),
            secondary_conf: None,
            shard_number: 0,
            shard_count: 0,
            shard_stripe_size: 0,
            tenant_conf,
        }
    }

    /// The request that removes an unsharded tenant from the node.
    pub fn detached() -> Self {
        LocationConfig {
            mode: LocationConfigMode::Detached,
            generation: None,
            secondary_conf: None,
            shard_number: 0,
            shard_count: 0,
            shard_stripe_size: 0,
            tenant_conf: TenantConfigOverrides::default(),
        }
    }
}

/// Answer of `PUT /v1/tenant/:id/location_config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantLocationResponse {
    /// Where the shards are attached; empty for a secondary.
    pub shards: Vec<TenantShardLocation>,
    /// Pages per stripe; null unless there are several shards.
    pub stripe_size: Option<u32>,
}

/// One shard of a [`TenantLocationResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantShardLocation {
    /// The shard.
    pub shard_id: TenantShardId,
    /// The node that has it.
    pub node_id: NodeId,
}

/// Answer of `GET /v1/location_config`; `C` is the rendered location config, null for a shard
/// that is being changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocationConfigList<C = LocationConfig> {
    /// Every shard on the node.
    pub tenant_shards: Vec<(TenantShardId, Option<C>)>,
}

/// Answer of `GET …/secondary/status` and `POST …/secondary/download`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondaryProgress {
    /// When the heatmap that is followed was written: RFC 3339. Null before there was one.
    pub heatmap_mtime: Option<String>,
    /// Layers of the heatmap that are here.
    pub layers_downloaded: u64,
    /// Layers of the heatmap.
    pub layers_total: u64,
    /// Bytes of the layers that are here.
    pub bytes_downloaded: u64,
    /// Bytes of the layers of the heatmap.
    pub bytes_total: u64,
}
