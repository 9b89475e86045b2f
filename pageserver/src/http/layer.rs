//! Layers of a timeline.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_server::ApiError;
use http_server::document::{Body, ResponseBody};
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use layer_format::LayerName;
use pageserver_api::models::{
    DownloadRemoteLayersTaskInfo, DownloadRemoteLayersTaskSpawnRequest, HistoricLayerInfo,
    InMemoryLayerInfo, LayerMapInfo,
};
use schemars::SchemaGenerator;

use crate::context::{DownloadBehavior, RequestContext};
use crate::layers::layer::EvictionError;
use crate::layers::{Layer, LayerAccessError, StatsReset};
use crate::tasks::TaskKind;
use crate::timeline::Timeline;

use super::State;
use super::timeline_ops::active_timeline;

/// How long an eviction waits for readers to let go of a layer.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(120);

pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<LayerMapInfo>, ApiError> {
    let reset = query.parse::<StatsReset>("reset")?.unwrap_or(StatsReset::NoReset);
    let timeline = active_timeline(&state, &path, &claims).await?;
    Ok(Json(layer_map_info(&timeline, reset)))
}

fn layer_map_info(timeline: &Timeline, reset: StatsReset) -> LayerMapInfo {
    let in_memory = timeline.in_memory_layers().into_iter().map(|(lsns, _)| match lsns.end {
        utils::Lsn::MAX => InMemoryLayerInfo::Open { lsn_start: lsns.start },
        lsn_end => InMemoryLayerInfo::Frozen { lsn_start: lsns.start, lsn_end },
    });
    let mut layers = timeline.layers();
    layers.sort_by(|a, b| a.name().cmp(b.name()));
    LayerMapInfo {
        in_memory_layers: in_memory.collect(),
        historic_layers: layers.iter().map(|layer| describe(layer, reset)).collect(),
    }
}

fn describe(layer: &Layer, reset: StatsReset) -> HistoricLayerInfo {
    let layer_file_name = layer.name().to_string();
    let layer_file_size = layer.metadata().file_size;
    let remote = !layer.is_resident();
    let access_stats = layer.access_stats(reset);
    match layer.name() {
        LayerName::Delta(delta) => HistoricLayerInfo::Delta {
            layer_file_name,
            layer_file_size,
            lsn_start: delta.lsn_range.start,
            lsn_end: delta.lsn_range.end,
            remote,
            access_stats,
            l0: delta.is_l0(),
        },
        LayerName::Image(image) => HistoricLayerInfo::Image {
            layer_file_name,
            layer_file_size,
            lsn_start: image.lsn,
            remote,
            access_stats,
        },
    }
}

/// What became of a request about one layer.
pub enum LayerAnswer {
    Done,
    /// There was nothing to do, or it could not be done.
    Unchanged,
    /// No such layer. A text for people.
    NotFound(String),
}

impl IntoResponse for LayerAnswer {
    fn into_response(self) -> Response {
        match self {
            LayerAnswer::Done => Json(()).into_response(),
            LayerAnswer::Unchanged => StatusCode::NOT_MODIFIED.into_response(),
            LayerAnswer::NotFound(text) => (StatusCode::BAD_REQUEST, Json(text)).into_response(),
        }
    }
}

impl ResponseBody for LayerAnswer {
    fn response_body(schemas: &mut SchemaGenerator) -> Option<Body> {
        Some(Body::json::<()>(schemas))
    }
}

pub async fn download(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<LayerAnswer, ApiError> {
    let timeline = active_timeline(&state, &path, &claims).await?;
    let name: LayerName = path.parse("layer_file_name")?;
    let Some(layer) = timeline.find_layer(&name) else { return Ok(not_found(&timeline, &name)) };
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    layer.get_or_maybe_download(&ctx).await.map_err(|failure| match failure {
        LayerAccessError::Cancelled => ApiError::ShuttingDown,
        failure => ApiError::internal(failure),
    })?;
    Ok(LayerAnswer::Done)
}

pub async fn evict(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<LayerAnswer, ApiError> {
    let timeline = active_timeline(&state, &path, &claims).await?;
    let name: LayerName = path.parse("layer_file_name")?;
    let Some(layer) = timeline.find_layer(&name) else { return Ok(not_found(&timeline, &name)) };
    match layer.evict_and_wait(EVICTION_TIMEOUT).await {
        Ok(()) => Ok(LayerAnswer::Done),
        Err(
            EvictionError::NotFound
            | EvictionError::NotStored
            | EvictionError::Downloaded
            | EvictionError::Timeout,
        ) => Ok(LayerAnswer::Unchanged),
    }
}

fn not_found(timeline: &Timeline, name: &LayerName) -> LayerAnswer {
    let (shard, timeline) = (timeline.tenant_shard_id, timeline.timeline_id);
    LayerAnswer::NotFound(format!("Layer {shard}/{timeline}/{name} not found"))
}

/// Starts to bring all layers of a timeline here.
pub async fn start_download_all(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(request): JsonBody<DownloadRemoteLayersTaskSpawnRequest>,
) -> Result<(StatusCode, Json<DownloadRemoteLayersTaskInfo>), ApiError> {
    let timeline = active_timeline(&state, &path, &claims).await?;
    let (status, info) = match timeline.spawn_download_all_layers(request.max_concurrent_downloads)
    {
        Ok(started) => (StatusCode::ACCEPTED, started),
        Err(running) => (StatusCode::CONFLICT, running),
    };
    Ok((status, Json(info)))
}

/// How far that is.
pub async fn download_all_info(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<Json<DownloadRemoteLayersTaskInfo>, ApiError> {
    let timeline = active_timeline(&state, &path, &claims).await?;
    timeline.download_all_layers_info().map(Json).ok_or_else(|| {
        ApiError::not_found("task never started since last pageserver process start")
    })
}
