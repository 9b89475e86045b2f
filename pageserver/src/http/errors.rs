//! From the engine's errors to statuses.
//!
//! 404 for a tenant only when it is certainly not here; 503 for whatever a retry may heal; 500 for
//! bugs and broken disks.

use http_server::ApiError;

use crate::tenant::manager::{DetachTimelineError, RemoveTenantError, UpsertLocationError};
use crate::tenant::slots::SlotError;
use crate::tenant::{
    DeleteTimelineError, DetachAncestorError, GetTimelineError, WaitToBecomeActiveError,
};
use crate::timeline::DetachError;

/// Looking for an attached tenant.
pub fn get_tenant(error: SlotError) -> ApiError {
    match error {
        SlotError::NotFound(shard) => ApiError::not_found(format!("tenant {}", shard.tenant_id)),
        SlotError::InProgress(_) => ApiError::ResourceUnavailable("Tenant not yet active".into()),
        SlotError::Initializing | SlotError::ShuttingDown => {
            ApiError::ResourceUnavailable(error.to_string().into())
        }
    }
}

/// Listing tenants.
pub fn list_tenants(_: SlotError) -> ApiError {
    ApiError::ResourceUnavailable("Tenant map is initializing or shutting down".into())
}

/// Taking a slot.
pub fn slot(error: SlotError) -> ApiError {
    match error {
        SlotError::NotFound(_) => ApiError::not_found(error.to_string()),
        SlotError::InProgress(_) | SlotError::Initializing | SlotError::ShuttingDown => {
            ApiError::ResourceUnavailable(error.to_string().into())
        }
    }
}

/// Waiting for a tenant to serve.
pub fn wait_active(error: WaitToBecomeActiveError) -> ApiError {
    match error {
        WaitToBecomeActiveError::Broken(_) => ApiError::internal(error),
        WaitToBecomeActiveError::WillNotBecomeActive(_) => ApiError::Conflict(error.to_string()),
        WaitToBecomeActiveError::Timeout { .. } => {
            ApiError::ResourceUnavailable(error.to_string().into())
        }
    }
}

/// Looking for a timeline. Safe to answer 404: a tenant becomes active after its timelines.
pub fn get_timeline(error: GetTimelineError) -> ApiError {
    match error {
        GetTimelineError::NotFound { .. } | GetTimelineError::NotActive { .. } => {
            ApiError::not_found(error.to_string())
        }
        GetTimelineError::Broken { .. } => ApiError::internal(error),
    }
}

/// Changing a location.
pub fn upsert_location(error: UpsertLocationError) -> ApiError {
    match error {
        UpsertLocationError::Slot(SlotError::InProgress(_)) => {
            ApiError::Conflict("Tenant is already being modified".to_owned())
        }
        UpsertLocationError::Slot(error) => slot(error),
        UpsertLocationError::StaleGeneration { .. } => ApiError::bad_request(error),
        UpsertLocationError::Interrupted => ApiError::ShuttingDown,
        UpsertLocationError::Directory(_) | UpsertLocationError::Flush(_) => {
            ApiError::internal(error)
        }
    }
}

/// Detaching or deleting a tenant.
pub fn remove_tenant(error: RemoveTenantError) -> ApiError {
    match error {
        RemoveTenantError::Slot(error) => slot(error),
        RemoveTenantError::Cancelled => ApiError::ShuttingDown,
        RemoveTenantError::Directory(_)
        | RemoveTenantError::Storage(_)
        | RemoveTenantError::Path(_) => ApiError::internal(error),
    }
}

/// Deleting a timeline.
pub fn delete_timeline(error: DeleteTimelineError) -> ApiError {
    match error {
        DeleteTimelineError::NotFound => ApiError::not_found(error.to_string()),
        DeleteTimelineError::HasChildren(_) => {
            ApiError::PreconditionFailed(error.to_string().into())
        }
        DeleteTimelineError::InProgress => ApiError::Conflict(error.to_string()),
        DeleteTimelineError::Unloadable(_)
        | DeleteTimelineError::Remote(_)
        | DeleteTimelineError::Directory(_)
        | DeleteTimelineError::Failpoint(_) => ApiError::internal(error),
    }
}

/// Detaching a timeline from its ancestor.
pub fn detach_ancestor(error: DetachTimelineError) -> ApiError {
    let text = error.to_string();
    match error {
        DetachTimelineError::Detach(DetachAncestorError::Timeline(failure)) => {
            get_timeline(failure)
        }
        DetachTimelineError::Detach(DetachAncestorError::Ongoing) => {
            ApiError::ResourceUnavailable(text.into())
        }
        DetachTimelineError::Detach(DetachAncestorError::Detach(failure)) => match failure {
            DetachError::NoAncestor => ApiError::Conflict(text),
            DetachError::TooManyAncestors => ApiError::bad_request(text),
            DetachError::ShuttingDown => ApiError::ShuttingDown,
            DetachError::BranchPoint(_)
            | DetachError::Flush(_)
            | DetachError::Upload(_)
            | DetachError::Read { .. }
            | DetachError::Write { .. }
            | DetachError::Store { .. }
            | DetachError::Failpoint(_) => ApiError::internal(failure),
        },
        DetachTimelineError::Reset(_) => ApiError::internal(error),
    }
}
