//! The routes that all daemons have.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use utils::failpoints;

use crate::extract::{JsonBody, RequestClaims};
use crate::{ApiError, HttpOptions, PermissionCheck};

pub(crate) const FAILPOINTS_PATH: &str = "/v1/failpoints";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailpointConfig {
    name: String,
    actions: String,
}

pub(crate) async fn metrics() -> Result<Response, ApiError> {
    let started = std::time::Instant::now();
    // Gathering and encoding cost CPU time that would delay other requests.
    let text = tokio::task::spawn_blocking(metrics::render)
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    let elapsed_ms = started.elapsed().as_millis();
    tracing::debug!(bytes = text.len(), elapsed_ms, "responded /metrics");
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

pub(crate) async fn failpoints(
    permission: PermissionCheck,
    RequestClaims(claims): RequestClaims,
    JsonBody(configs): JsonBody<Vec<FailpointConfig>>,
) -> Result<Json<()>, ApiError> {
    permission(claims.as_ref())?;
    if !failpoints::compiled_in() {
        return Err(ApiError::bad_request(failpoints::FailpointError::NotCompiledIn));
    }
    for config in configs {
        failpoints::configure(&config.name, &config.actions).map_err(ApiError::bad_request)?;
    }
    Ok(Json(()))
}

pub(crate) async fn not_found() -> Response {
    let body = Json(crate::ErrorBody { msg: "page not found".to_owned() });
    (http::StatusCode::NOT_FOUND, body).into_response()
}

/// Lets tests make any API call fail.
pub(crate) async fn api_failpoints(
    State(options): State<Arc<HttpOptions>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if failpoints::compiled_in()
        && options.api_failpoints
        && path.starts_with("/v1/")
        // Or they could not be switched off again.
        && path != FAILPOINTS_PATH
    {
        if fail::eval("api-503", |_| ()).is_some() {
            return Err(ApiError::ResourceUnavailable("failpoint".into()));
        }
        if fail::eval("api-500", |_| ()).is_some() {
            return Err(ApiError::internal(anyhow::anyhow!("failpoint")));
        }
    }
    Ok(next.run(request).await)
}
