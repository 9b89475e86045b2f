//! Bodies of the routes that copy, compare and repair timelines.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utils::{Lsn, TenantId, TimelineId};

/// `POST /v1/pull_timeline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullTimelineRequest {
    /// The owner.
    pub tenant_id: TenantId,
    /// The timeline, which must not exist on the safekeeper that is asked.
    pub timeline_id: TimelineId,
    /// Base URLs of safekeepers that have it, such as `http://127.0.0.1:7676`.
    pub http_hosts: Vec<String>,
}

/// What `POST /v1/pull_timeline` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullTimelineResponse {
    /// The one of `http_hosts` that it was pulled from.
    pub safekeeper_host: String,
}

/// `POST /v1/tenant/:tenant/timeline/:source/copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineCopyRequest {
    /// The timeline to make; an existing one is left as it is.
    pub target_timeline_id: TimelineId,
    /// End of the copy, a record boundary.
    pub until_lsn: Lsn,
}

/// What `GET /v1/tenant/:tenant/timeline/:timeline/digest` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineDigest {
    /// SHA-256 of the WAL, in hexadecimal digits.
    pub sha256: String,
}

/// `PATCH /v1/tenant/:tenant/timeline/:timeline/control_file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFilePatch {
    /// New values of fields, in the form the control file is shown in.
    pub updates: Map<String, Value>,
    /// The fields to take from `updates`.
    pub apply_fields: Vec<String>,
}

/// What the patch of a control file answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFilePatchResult {
    /// The state before.
    pub old_control_file: Value,
    /// The state now.
    pub new_control_file: Value,
}
