//! Tenants as the HTTP API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utils::TimelineId;

use crate::shard::TenantShardId;

/// Where an attached tenant is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "slug", content = "data")]
pub enum TenantState {
    /// Reading local state. Not used for new tenants.
    Loading,
    /// Reading remote metadata and building timelines.
    Attaching,
    /// Starting the timelines; carries the state before.
    Activating(ActivatingFrom),
    /// Serving.
    Active,
    /// Shutting down or being deleted.
    Stopping {},
    /// Unusable until it is attached again.
    Broken {
        /// What went wrong.
        reason: String,
        /// Where, for developers; may be empty.
        backtrace: String,
    },
}

/// The state from which an activation started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActivatingFrom {
    /// It was loading.
    Loading,
    /// It was attaching.
    Attaching,
}

impl TenantState {
    /// Every slug, for gauges that are preset.
    pub const SLUGS: [&'static str; 6] =
        ["Loading", "Attaching", "Activating", "Active", "Stopping", "Broken"];

    /// The name of the state without its data.
    pub fn slug(&self) -> &'static str {
        match self {
            TenantState::Loading => "Loading",
            TenantState::Attaching => "Attaching",
            TenantState::Activating(_) => "Activating",
            TenantState::Active => "Active",
            TenantState::Stopping {} => "Stopping",
            TenantState::Broken { .. } => "Broken",
        }
    }

    /// A broken state without a backtrace.
    pub fn broken(reason: impl Into<String>) -> Self {
        TenantState::Broken { reason: reason.into(), backtrace: String::new() }
    }

    /// What a control plane should conclude about the attachment.
    pub fn attachment_status(&self) -> AttachmentStatus {
        match self {
            TenantState::Active
            | TenantState::Loading
            | TenantState::Activating(ActivatingFrom::Loading) => AttachmentStatus::Attached,
            TenantState::Attaching
            | TenantState::Activating(ActivatingFrom::Attaching)
            | TenantState::Stopping {} => AttachmentStatus::Maybe,
            TenantState::Broken { reason, .. } => {
                AttachmentStatus::Failed { reason: reason.clone() }
            }
        }
    }
}

impl std::fmt::Display for TenantState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TenantState::Broken { reason, .. } => write!(f, "Broken: {reason}"),
            TenantState::Loading
            | TenantState::Attaching
            | TenantState::Activating(_)
            | TenantState::Active
            | TenantState::Stopping {} => f.write_str(self.slug()),
        }
    }
}

/// Whether an attachment has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "slug", content = "data", rename_all = "snake_case")]
pub enum AttachmentStatus {
    /// Not known yet.
    Maybe,
    /// It has.
    Attached,
    /// It has not and will not.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One element of `GET /v1/tenant`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantInfo {
    /// The shard.
    pub id: TenantShardId,
    /// Where it is in its life.
    pub state: TenantState,
    /// Bytes of its layers; null in lists, where it would be expensive.
    pub current_physical_size: Option<u64>,
    /// Whether the attachment has succeeded.
    pub attachment_status: AttachmentStatus,
    /// The generation it is attached in; null when it has none.
    pub generation: Option<u32>,
}

/// Answer of `GET /v1/tenant/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantDetails {
    /// What the list shows too.
    #[serde(flatten)]
    pub tenant_info: TenantInfo,
    /// State of the redo engine, if it has any.
    pub walredo: Option<WalRedoStatus>,
    /// Every timeline.
    pub timelines: Vec<TimelineId>,
}

/// State of a tenant's redo engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalRedoStatus {
    /// When it was last used: RFC 3339.
    pub last_redo_at: Option<String>,
    /// The helper process, when one runs.
    pub process: Option<WalRedoProcess>,
}

/// A redo helper process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalRedoProcess {
    /// Its process id.
    pub pid: u32,
}
