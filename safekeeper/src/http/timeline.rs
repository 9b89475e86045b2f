//! Routes of one timeline or one tenant.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http_server::ApiError;
use http_server::extract::{JsonBody, NoBody, PathParams, QueryParams, RequestClaims};
use safekeeper_api::models::{
    ControlFilePatch, ControlFilePatchResult, SafekeeperTimelineInfo, TimelineCreateRequest,
    TimelineDeleteResult, TimelineStatus,
};
use utils::{NodeId, TenantTimelineId, TimelineId};
use wal_quorum::control_file::ServerInfo;

use super::{api_error, forbidden};
use crate::auth;
use crate::timeline::patch::PatchError;
use crate::timelines::{NewTimeline, Timelines};
use crate::wal_storage::{SEGMENT_SIZE, segment_start, segno};

pub(super) type Shared = State<Arc<Timelines>>;

/// Peer state made by hand comes from nobody in particular.
const NOBODY: NodeId = NodeId(0);

pub(super) fn ttid(path: &PathParams) -> Result<TenantTimelineId, ApiError> {
    Ok(TenantTimelineId::new(path.parse("tenant_id")?, path.parse("timeline_id")?))
}

pub(super) async fn create(
    State(timelines): Shared,
    claims: RequestClaims,
    JsonBody(request): JsonBody<TimelineCreateRequest>,
) -> Result<Json<()>, ApiError> {
    auth::check_tenant(claims.0.as_ref(), request.tenant_id).map_err(forbidden)?;
    let commit_lsn = request.commit_lsn;
    let new = NewTimeline {
        ttid: TenantTimelineId::new(request.tenant_id, request.timeline_id),
        server: ServerInfo {
            pg_version: request.pg_version,
            system_id: request.system_id.unwrap_or_default(),
            wal_seg_size: request.wal_seg_size.unwrap_or(SEGMENT_SIZE as u32),
        },
        commit_lsn,
        local_start_lsn: request
            .local_start_lsn
            .unwrap_or_else(|| segment_start(segno(commit_lsn))),
    };
    timelines.get_or_create(new).await.map_err(api_error)?;
    Ok(Json(()))
}

pub(super) async fn status(
    State(timelines): Shared,
    path: PathParams,
) -> Result<Json<TimelineStatus>, ApiError> {
    let ttid = ttid(&path)?;
    Ok(Json(timelines.get(ttid).map_err(api_error)?.status().await))
}

pub(super) async fn delete(
    State(timelines): Shared,
    path: PathParams,
    query: QueryParams,
    _: NoBody,
) -> Result<Json<TimelineDeleteResult>, ApiError> {
    let ttid = ttid(&path)?;
    let only_local = query.parse("only_local")?.unwrap_or(false);
    timelines.delete(ttid, only_local).await.map(Json).map_err(api_error)
}

pub(super) async fn delete_tenant(
    State(timelines): Shared,
    path: PathParams,
    query: QueryParams,
    _: NoBody,
) -> Result<Json<HashMap<TimelineId, TimelineDeleteResult>>, ApiError> {
    let tenant_id = path.parse("tenant_id")?;
    let only_local = query.parse("only_local")?.unwrap_or(false);
    timelines.delete_tenant(tenant_id, only_local).await.map(Json).map_err(api_error)
}

pub(super) async fn checkpoint(
    State(timelines): Shared,
    path: PathParams,
) -> Result<Json<()>, ApiError> {
    let ttid = ttid(&path)?;
    let timeline = timelines.get(ttid).map_err(api_error)?;
    timeline.flush_control_file().await.map(Json).map_err(api_error)
}

pub(super) async fn patch_control_file(
    State(timelines): Shared,
    path: PathParams,
    JsonBody(patch): JsonBody<ControlFilePatch>,
) -> Result<Json<ControlFilePatchResult>, ApiError> {
    let ttid = ttid(&path)?;
    let timeline = timelines.get(ttid).map_err(api_error)?;
    timeline.patch_control_file(&patch).await.map(Json).map_err(|error| match error {
        PatchError::Timeline(error) => api_error(error),
        refused => ApiError::bad_request(refused),
    })
}

pub(super) async fn record_safekeeper_info(
    State(timelines): Shared,
    path: PathParams,
    JsonBody(info): JsonBody<SafekeeperTimelineInfo>,
) -> Result<Json<()>, ApiError> {
    let ttid = ttid(&path)?;
    let timeline = timelines.get(ttid).map_err(api_error)?;
    timeline.record_peer(NOBODY, &info).await.map(Json).map_err(api_error)
}
