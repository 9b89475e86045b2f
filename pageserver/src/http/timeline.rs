//! Timelines: list, detail, creation, deletion.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use http_server::{ApiError, ErrorBody};
use pageserver_api::models::{TimelineCreateRequest, TimelineInfo};
use pageserver_api::shard::TenantShardId;
use utils::TimelineId;

use crate::tenant::slots::SlotError;
use crate::tenant::{ACTIVE_TENANT_TIMEOUT, CreateTimelineError, GetTimelineError, Tenant};

use super::info::{timeline_info, unloadable_info};
use super::{State, errors, tenant_of};

/// An attached tenant that serves.
pub async fn active_tenant(state: &State, shard: &TenantShardId) -> Result<Arc<Tenant>, ApiError> {
    let tenant = state.tenants.get(shard).map_err(errors::get_tenant)?;
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.map_err(errors::wait_active)?;
    Ok(tenant)
}

pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<Vec<TimelineInfo>>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let options = super::info::Options::parse(&query)?;
    let tenant = active_tenant(&state, &shard).await?;
    let mut infos = Vec::new();
    for timeline in tenant.list_timelines() {
        infos.push(timeline_info(&tenant, &timeline, options).await?);
    }
    for (timeline, reason) in tenant.unloadable_timelines() {
        infos.push(unloadable_info(shard, timeline, reason));
    }
    Ok(Json(infos))
}

pub async fn get(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<TimelineInfo>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let timeline_id: TimelineId = path.parse("timeline_id")?;
    let options = super::info::Options::parse(&query)?;
    let tenant = active_tenant(&state, &shard).await?;
    match tenant.get_timeline(timeline_id) {
        Ok(timeline) => Ok(Json(timeline_info(&tenant, &timeline, options).await?)),
        Err(GetTimelineError::Broken { reason, .. }) => {
            Ok(Json(unloadable_info(shard, timeline_id, reason)))
        }
        Err(failure @ (GetTimelineError::NotFound { .. } | GetTimelineError::NotActive { .. })) => {
            Err(errors::get_timeline(failure))
        }
    }
}

pub async fn create(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(request): JsonBody<TimelineCreateRequest>,
) -> Result<(StatusCode, Json<TimelineInfo>), CreationRefused> {
    let shard = tenant_of(&path, &claims)?;
    let major = request.pg_major().map_err(ApiError::bad_request)?;
    let tenant = active_tenant(&state, &shard).await?;
    match tenant.create_timeline(&request, major).await {
        Ok(timeline) => {
            let info = timeline_info(&tenant, &timeline, super::info::Options::default()).await?;
            Ok((StatusCode::CREATED, Json(info)))
        }
        Err(failure) => Err(refusal(&tenant, failure)),
    }
}

/// A creation did not succeed. Some statuses are particular to this route.
pub enum CreationRefused {
    Usual(ApiError),
    Particular(StatusCode, String),
}

impl From<ApiError> for CreationRefused {
    fn from(error: ApiError) -> Self {
        CreationRefused::Usual(error)
    }
}

impl IntoResponse for CreationRefused {
    fn into_response(self) -> Response {
        match self {
            CreationRefused::Usual(error) => error.into_response(),
            CreationRefused::Particular(status, msg) => {
                (status, Json(ErrorBody { msg })).into_response()
            }
        }
    }
}

fn refusal(tenant: &Tenant, failure: CreateTimelineError) -> CreationRefused {
    let particular = |status| CreationRefused::Particular(status, failure.to_string());
    let usual = match failure {
        CreateTimelineError::Conflict => return particular(StatusCode::CONFLICT),
        CreateTimelineError::AlreadyCreating => return particular(StatusCode::TOO_MANY_REQUESTS),
        CreateTimelineError::AncestorLsn(_) => return particular(StatusCode::NOT_ACCEPTABLE),
        CreateTimelineError::AncestorNotActive | CreateTimelineError::ShuttingDown => {
            ApiError::ResourceUnavailable(failure.to_string().into())
        }
        CreateTimelineError::AncestorNotFound
        | CreateTimelineError::TenantNotActive
        | CreateTimelineError::Broken(_)
        | CreateTimelineError::Bootstrap(_)
        | CreateTimelineError::Timeline(_) => match tenant.cancel.is_cancelled() {
            true => ApiError::ResourceUnavailable("Tenant shutting down".into()),
            false => ApiError::internal(failure),
        },
    };
    CreationRefused::Usual(usual)
}

pub async fn delete(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<(StatusCode, Json<()>), ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let timeline_id: TimelineId = path.parse("timeline_id")?;
    let tenant = match state.tenants.get(&shard) {
        Ok(tenant) => tenant,
        // Not 404, which would tell the caller that the timeline has been deleted.
        Err(SlotError::NotFound(_)) => {
            return Err(ApiError::PreconditionFailed("Requested tenant is missing".into()));
        }
        Err(failure) => return Err(errors::get_tenant(failure)),
    };
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.map_err(errors::wait_active)?;
    tenant.delete_timeline(timeline_id).await.map_err(errors::delete_timeline)?;
    Ok((StatusCode::ACCEPTED, Json(())))
}
