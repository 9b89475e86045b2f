//! The management HTTP API. Thin: a handler parses, calls the engine and maps the outcome to a
//! status. Contract: docs/reference.

mod auth;
mod compact;
mod disk_eviction;
mod errors;
mod info;
mod initdb;
mod layer;
mod location;
mod node;
mod secondary;
mod tenant;
mod time_travel;
mod timeline;
mod timeline_ops;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{get, post, put};
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
        failpoints_permission: auth::any_token,
        api_failpoints: true,
        response_headers: launch_header(&state.launch_timestamp),
    };
    let routes = node_routes().merge(tenant_routes()).merge(timeline_routes()).with_state(state);
    http_server::wrap(routes, options)
}

fn node_routes() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/status", get(node::status))
        .route("/v1/utilization", get(node::utilization))
        .route("/v1/disk_usage_eviction/run", put(disk_eviction::run))
        .route("/v1/deletion_queue/flush", put(node::flush_deletion_queue))
        .route("/v1/reload_auth_validation_keys", post(node::reload_auth_keys))
        .route("/v1/location_config", get(location::list))
        .route("/v1/location_config/{tenant_shard_id}", get(location::get))
}

fn tenant_routes() -> Router<Arc<State>> {
    let tenant = "/v1/tenant/{tenant_shard_id}";
    Router::new()
        .route("/v1/tenant", get(tenant::list))
        .route("/v1/tenant/config", put(tenant::set_config))
        .route(tenant, get(tenant::get).delete(tenant::delete))
        .route(&format!("{tenant}/config"), get(tenant::config))
        .route(&format!("{tenant}/location_config"), put(location::put))
        .route(&format!("{tenant}/time_travel_remote_storage"), put(time_travel::recover))
        .route(&format!("{tenant}/break"), put(tenant::set_broken))
        .route(&format!("{tenant}/heatmap_upload"), post(secondary::heatmap_upload))
        .route(&format!("{tenant}/secondary/status"), get(secondary::status))
        .route(&format!("{tenant}/secondary/download"), post(secondary::download))
}

fn timeline_routes() -> Router<Arc<State>> {
    let timelines = "/v1/tenant/{tenant_shard_id}/timeline";
    let timeline = format!("{timelines}/{{timeline_id}}");
    Router::new()
        .route(timelines, get(timeline::list).post(timeline::create))
        .route(&timeline, get(timeline::get).delete(timeline::delete))
        .route(&format!("{timeline}/checkpoint"), put(timeline_ops::checkpoint))
        .route(&format!("{timeline}/compact"), put(compact::compact))
        .route(&format!("{timeline}/get_lsn_by_timestamp"), get(timeline_ops::get_lsn_by_timestamp))
        .route(&format!("{timeline}/preserve_initdb_archive"), post(initdb::preserve_archive))
        .route(&format!("{timeline}/lsn_lease"), post(timeline_ops::lsn_lease))
        .route(
            &format!("{timeline}/download_remote_layers"),
            get(layer::download_all_info).post(layer::start_download_all),
        )
        .route(&format!("{timeline}/layer"), get(layer::list))
        .route(
            &format!("{timeline}/layer/{{layer_file_name}}"),
            get(layer::download).delete(layer::evict),
        )
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
