//! The management HTTP API. Thin: a handler parses, calls the engine and maps the outcome to a
//! status. Contract: docs/reference.

mod auth;
mod aux_files;
mod compact;
mod debug;
mod detach_ancestor;
mod disk_eviction;
mod errors;
mod info;
mod initdb;
mod layer;
mod location;
mod node;
mod openapi;
mod routes;
mod secondary;
mod tenant;
mod time_travel;
mod timeline;
mod timeline_ops;
mod yaml;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use http_server::HttpOptions;
use pageserver_api::shard::TenantShardId;
use utils::auth::SharedJwtAuth;

use crate::config::PageServerConf;
use crate::tenant::TenantManager;

/// What handlers work with.
pub struct State {
    /// The process's configuration.
    pub conf: &'static PageServerConf,
    /// All tenants.
    pub tenants: Arc<TenantManager>,
    /// Where deletions go.
    pub deletion_queue: crate::deletion_queue::DeletionQueueClient,
    /// What evicts layers.
    pub disk_evictor: Arc<crate::disk_eviction::DiskEvictor>,
    /// Keys to check tokens with.
    pub auth: Option<SharedJwtAuth>,
    /// When the process started, as clients see it.
    pub launch_timestamp: String,
}

/// The server's routes, ready to be served.
pub fn router(state: State) -> Router {
    let state = Arc::new(state);
    let options = HttpOptions {
        auth: state.auth.clone(),
        public_paths: vec!["/v1/status", "/v1/doc", "/swagger.yml", "/metrics"],
        failpoints_permission: auth::node,
        api_failpoints: true,
        response_headers: launch_header(&state.launch_timestamp),
    };
    let api = routes::all();
    let document: Arc<str> = openapi::render(&api).into();
    let documented: Arc<[routes::Documented]> = api.documented.into();
    let router = api
        .router
        .route("/swagger.yml", get(move || async move { openapi::document(&document) }))
        .route("/v1/doc", get(move || async move { openapi::page(&documented) }));
    http_server::wrap(router.with_state(state), options)
}

fn launch_header(timestamp: &str) -> Vec<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_static("pageserver_launch_timestamp");
    HeaderValue::from_str(timestamp).into_iter().map(|value| (name.clone(), value)).collect()
}

/// The id in a path, with the permission to use it.
fn tenant_of(
    path: &http_server::extract::PathParams,
    claims: &http_server::extract::RequestClaims,
) -> Result<TenantShardId, http_server::ApiError> {
    let shard: TenantShardId = path.parse("tenant_shard_id")?;
    auth::tenant(claims.0.as_ref(), shard.tenant_id)?;
    Ok(shard)
}

/// Refuses routes that only tests may use.
fn require_testing(what: &str) -> Result<(), http_server::ApiError> {
    match cfg!(feature = "testing") {
        true => Ok(()),
        false => Err(http_server::ApiError::bad_request(format!(
            "Cannot {what} because pageserver was compiled without testing APIs"
        ))),
    }
}

#[cfg(test)]
mod tests;
