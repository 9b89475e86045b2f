//! The management API: thin handlers that call the timelines and map errors. Who may use what
//! is in the table of [`routes`].

mod debug;
pub mod routes;
mod timeline;
mod transfer;

use std::sync::Arc;

use axum::{Json, Router, extract::State};
use http_server::{ApiError, HttpOptions};
use safekeeper_api::models::NodeStatus;
use utils::auth::SharedJwtAuth;

use crate::auth;
use crate::timeline::TimelineError;
use crate::timelines::Timelines;

/// All routes, ready to be served. Tokens are checked against `keys`, if there are any.
pub fn router(timelines: Arc<Timelines>, keys: Option<SharedJwtAuth>) -> Router {
    let routes = routes::all().0.with_state(timelines);
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
