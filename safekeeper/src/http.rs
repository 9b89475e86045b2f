//! The management API: thin handlers that check the token, call the timelines and map errors.

mod debug;
mod timeline;
mod transfer;

use std::sync::Arc;

use axum::routing::{delete, get, patch, post};
use axum::{Json, Router, extract::State};
use http_server::{ApiError, HttpOptions};
use safekeeper_api::models::NodeStatus;
use utils::auth::SharedJwtAuth;

use crate::auth;
use crate::timeline::TimelineError;
use crate::timelines::Timelines;

/// All routes, ready to be served. Tokens are checked against `keys`, if there are any.
pub fn router(timelines: Arc<Timelines>, keys: Option<SharedJwtAuth>) -> Router {
    let routes = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/tenant/timeline", post(timeline::create))
        .route(
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}",
            get(timeline::status).delete(timeline::delete),
        )
        .route("/v1/tenant/{tenant_id}", delete(timeline::delete_tenant))
        .route(
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/checkpoint",
            post(timeline::checkpoint),
        )
        .route(
            "/v1/record_safekeeper_info/{tenant_id}/{timeline_id}",
            post(timeline::record_safekeeper_info),
        )
        .route(
            "/v1/tenant/{tenant_id}/timeline/{timeline_id}/control_file",
            patch(timeline::patch_control_file),
        )
        .route("/v1/tenant/{tenant_id}/timeline/{timeline_id}/snapshot", get(transfer::snapshot))
        .route("/v1/tenant/{tenant_id}/timeline/{timeline_id}/copy", post(transfer::copy))
        .route("/v1/tenant/{tenant_id}/timeline/{timeline_id}/digest", get(transfer::digest))
        .route("/v1/pull_timeline", post(transfer::pull))
        .route("/v1/debug_dump", get(debug::dump))
        .with_state(timelines);
    let failpoints_permission =
        |claims: Option<&utils::auth::Claims>| auth::check_node(claims).map_err(forbidden);
    http_server::wrap(
        routes,
        HttpOptions { auth: keys, failpoints_permission, ..HttpOptions::default() },
    )
}

async fn status(State(timelines): State<Arc<Timelines>>) -> Json<NodeStatus> {
    Json(NodeStatus { id: timelines.config().id })
}

/// A token that does not suffice. The reason is for the operator only.
fn forbidden(error: auth::PermissionError) -> ApiError {
    tracing::warn!("permission denied: {error}");
    ApiError::Forbidden("JWT authentication error".to_owned())
}

fn api_error(error: TimelineError) -> ApiError {
    match error {
        TimelineError::NotFound(ttid) => ApiError::not_found(format!("timeline {ttid} not found")),
        TimelineError::ZeroSegmentSize(_)
        | TimelineError::SegmentSize { .. }
        | TimelineError::UnknownPgVersion(_)
        | TimelineError::UnsupportedPgVersion { .. }
        | TimelineError::CommitBeforeStart { .. } => ApiError::bad_request(error),
        other => ApiError::internal(other),
    }
}
