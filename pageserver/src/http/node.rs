//! Process-wide routes.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use http_server::ApiError;
use http_server::extract::QueryParams;
use pageserver_api::models::{NodeStatus, Utilization};
use utils::auth::JwtAuth;

use super::State;

/// A placeholder until nodes are ranked: the greatest number that JSON readers agree on.
const UTILIZATION_SCORE: u64 = i64::MAX as u64;

pub async fn status(extract::State(state): extract::State<Arc<State>>) -> Json<NodeStatus> {
    Json(NodeStatus { id: state.conf.id })
}

pub async fn utilization(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<Utilization>, ApiError> {
    fail::fail_point!("get-utilization-http-handler", |_| {
        Err(ApiError::ResourceUnavailable("failpoint".into()))
    });
    let path = state.conf.tenants_path();
    let measured =
        tokio::task::spawn_blocking(move || nix::sys::statvfs::statvfs(path.as_std_path()));
    let disk = measured.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    let unit_bytes = match disk.fragment_size() {
        0 => disk.block_size(),
        size => size,
    };
    Ok(Json(Utilization {
        disk_usage_bytes: disk.blocks().saturating_sub(disk.blocks_free()) * unit_bytes,
        free_space_bytes: disk.blocks_available() * unit_bytes,
        utilization_score: UTILIZATION_SCORE,
        captured_at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
    }))
}

/// Waits until what was queued for deletion is persisted; with `execute`, until it is gone.
pub async fn flush_deletion_queue(
    extract::State(state): extract::State<Arc<State>>,
    query: QueryParams,
) -> Result<Json<()>, ApiError> {
    let flushed = match query.parse::<bool>("execute")?.unwrap_or(false) {
        true => state.deletion_queue.flush_execute().await,
        false => state.deletion_queue.flush().await,
    };
    flushed.map_err(|_| ApiError::ShuttingDown)?;
    Ok(Json(()))
}

pub async fn reload_auth_keys(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<(StatusCode, Json<()>), ApiError> {
    let (Some(shared), Some(path)) = (&state.auth, &state.conf.auth.public_key_path) else {
        return Ok((StatusCode::BAD_REQUEST, Json(())));
    };
    let keys = JwtAuth::from_key_path(path.as_std_path()).map_err(|failure| {
        ApiError::internal(anyhow::Error::new(failure).context("Error reloading public keys"))
    })?;
    shared.replace(keys);
    Ok((StatusCode::OK, Json(())))
}
