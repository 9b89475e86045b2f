//! Eviction under disk pressure, on request.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use http_server::ApiError;
use http_server::extract::JsonBody;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::EvictionOrder;
use crate::disk_eviction::{DiskEvictionError, EvictedBytes, Outcome};

use super::State;

/// Body of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Bytes to free.
    evict_bytes: u64,
    /// Whose layers go first.
    #[serde(default)]
    eviction_order: EvictionOrder,
}

/// Evicts layers until so many bytes are freed.
pub async fn run(
    extract::State(state): extract::State<Arc<State>>,
    JsonBody(request): JsonBody<RunRequest>,
) -> Result<Json<Outcome<EvictedBytes>>, ApiError> {
    let usage = EvictedBytes { evict_bytes: request.evict_bytes, freed_bytes: 0 };
    let outcome = state.disk_evictor.evict(usage, request.eviction_order).await;
    outcome.map(Json).map_err(|error| match error {
        DiskEvictionError::AlreadyExecuting => {
            ApiError::ResourceUnavailable(error.to_string().into())
        }
        DiskEvictionError::Usage(_) => ApiError::internal(error),
    })
}
