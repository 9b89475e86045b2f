//! Heatmaps and secondary locations.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use http_server::ApiError;
use http_server::extract::{PathParams, QueryParams};
use pageserver_api::models::SecondaryProgress;

use crate::secondary::{
    HeatmapUploadError, SecondaryDownloadError, SecondaryTenant, WaitForDownload, upload_heatmap,
};
use crate::tenant::slots::SlotError;

use super::{State, errors};

/// Uploads the heatmap of an attached tenant now, whether or not it says something new.
pub async fn heatmap_upload(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<()>, ApiError> {
    let shard = path.parse("tenant_shard_id")?;
    let tenant = super::timeline::active_tenant(&state, &shard).await?;
    upload_heatmap(&tenant, true).await.map_err(|failure| match failure {
        HeatmapUploadError::Cancelled => ApiError::ShuttingDown,
        HeatmapUploadError::NotActive => ApiError::ResourceUnavailable(failure.to_string().into()),
        HeatmapUploadError::Serialise(_)
        | HeatmapUploadError::Path(_)
        | HeatmapUploadError::Storage(_) => ApiError::internal(failure),
    })?;
    Ok(Json(()))
}

fn find(state: &State, path: &PathParams) -> Result<Arc<SecondaryTenant>, ApiError> {
    let shard = path.parse("tenant_shard_id")?;
    state.tenants.get_secondary(&shard).map_err(|failure| match failure {
        SlotError::NotFound(shard) => ApiError::not_found(format!("Shard {shard} not found")),
        other => errors::get_tenant(other),
    })
}

/// How far the downloads are.
pub async fn status(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<SecondaryProgress>, ApiError> {
    Ok(Json(find(&state, &path)?.progress()))
}

/// Downloads what the newest heatmap names. 202 when that takes longer than the caller waits.
pub async fn download(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
) -> Result<(StatusCode, Json<SecondaryProgress>), ApiError> {
    let limit = query.parse::<u64>("wait_ms")?.map(Duration::from_millis);
    let secondary = find(&state, &path)?;
    let status = match secondary.download(limit).await {
        WaitForDownload::Finished => StatusCode::OK,
        WaitForDownload::StillRunning => StatusCode::ACCEPTED,
        // Attached, or detached, while we waited: where it is now is for the caller to find out.
        WaitForDownload::Failed(SecondaryDownloadError::Cancelled) => {
            return Err(ApiError::ResourceUnavailable(
                "the location is not secondary any more".into(),
            ));
        }
        // The store or the disk: the next attempt may succeed.
        WaitForDownload::Failed(failure) => {
            return Err(ApiError::ResourceUnavailable(failure.to_string().into()));
        }
    };
    Ok((status, Json(secondary.progress())))
}
