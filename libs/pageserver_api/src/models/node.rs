//! Process-wide routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utils::NodeId;

/// Answer of `GET /v1/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatus {
    /// The node's id.
    pub id: NodeId,
}

/// One element of the body of `PUT /v1/failpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailpointConfig {
    /// Name of the failpoint.
    pub name: String,
    /// What it does, in the grammar of the `fail` crate, plus `exit`.
    pub actions: String,
}

/// Answer of `GET /v1/utilization`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Utilization {
    /// Used bytes of the file system that holds the tenants.
    pub disk_usage_bytes: u64,
    /// Bytes of it that an unprivileged process may still use.
    pub free_space_bytes: u64,
    /// A placement score; a constant so far.
    pub utilization_score: u64,
    /// When this was measured: RFC 3339 with milliseconds.
    pub captured_at: String,
}
