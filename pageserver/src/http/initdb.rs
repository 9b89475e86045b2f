//! The archive of a timeline's initial database.

use std::sync::Arc;

use axum::{Json, extract};
use http_server::ApiError;
use http_server::extract::{PathParams, RequestClaims};
use utils::TimelineId;

use super::{State, errors, tenant_of};

/// Keeps a copy of the archive that the deletion of the timeline spares.
pub async fn preserve_archive(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let timeline: TimelineId = path.parse("timeline_id")?;
    let tenant = state.tenants.get(&shard).map_err(errors::get_tenant)?;
    match tenant.preserve_initdb_archive(timeline).await {
        Ok(()) => Ok(Json(())),
        Err(failure) if failure.is_cancelled() => Err(ApiError::ShuttingDown),
        Err(failure) if failure.is_not_found() => Err(ApiError::not_found(failure.to_string())),
        Err(failure) => Err(ApiError::internal(failure)),
    }
}
