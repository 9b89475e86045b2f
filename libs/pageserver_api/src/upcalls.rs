//! What pageservers ask the control plane: which tenants they have, and whether their
//! generations are current.
//!
//! Two `POST` requests below the base URL of the control plane's API, `re-attach` and `validate`.

use serde::{Deserialize, Serialize};
use utils::NodeId;

use crate::models::LocationConfigMode;
use crate::shard::TenantShardId;

/// Body of `re-attach`: a node has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReAttachRequest {
    /// The node.
    pub node_id: NodeId,
    /// How others reach it, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<serde_json::Value>,
}

/// One tenant shard that the node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReAttachResponseTenant {
    /// The shard.
    pub id: TenantShardId,
    /// The generation to attach it in; none for a secondary location.
    #[serde(default)]
    pub r#gen: Option<u32>,
    /// Its role.
    #[serde(default = "attached_single")]
    pub mode: LocationConfigMode,
}

fn attached_single() -> LocationConfigMode {
    LocationConfigMode::AttachedSingle
}

/// Answer to `re-attach`. What it does not name the node does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReAttachResponse {
    /// The shards.
    pub tenants: Vec<ReAttachResponseTenant>,
}

/// One generation to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateRequestTenant {
    /// The shard.
    pub id: TenantShardId,
    /// The generation that the node works in.
    pub r#gen: u32,
}

/// Body of `validate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateRequest {
    /// What to check.
    pub tenants: Vec<ValidateRequestTenant>,
}

/// Whether one generation is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateResponseTenant {
    /// The shard.
    pub id: TenantShardId,
    /// Whether nobody was given a later generation.
    pub valid: bool,
}

/// Answer to `validate`. A shard that is absent counts as not valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateResponse {
    /// The shards asked about.
    pub tenants: Vec<ValidateResponseTenant>,
}
