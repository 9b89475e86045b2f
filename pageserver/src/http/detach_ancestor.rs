//! `PUT …/detach_ancestor`: makes a branch independent of its ancestor.

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use http_server::ApiError;
use http_server::extract::{PathParams, QueryParams, RequestClaims};
use pageserver_api::models::AncestorDetached;
use tracing::Instrument;
use utils::TimelineId;

use super::timeline::active_tenant;
use super::{State, errors, tenant_of};
use crate::timeline::DetachLimits;

const REWRITES: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const COPIES: NonZeroUsize = NonZeroUsize::new(100).unwrap();

pub async fn detach_ancestor(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<AncestorDetached>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let timeline: TimelineId = path.parse("timeline_id")?;
    let limits = DetachLimits {
        rewrites: query.parse("rewrite_concurrency")?.unwrap_or(REWRITES),
        copies: query.parse("copy_concurrency")?.unwrap_or(COPIES),
    };
    let tenant = active_tenant(&state, &shard).await?;
    let span = tracing::info_span!(
        "detach_ancestor",
        tenant_id = %shard.tenant_id,
        shard_id = %shard.shard_slug(),
        timeline_id = %timeline,
    );
    let detached = state.tenants.detach_ancestor(&tenant, timeline, limits).instrument(span).await;
    let reparented_timelines = detached.map_err(errors::detach_ancestor)?;
    Ok(Json(AncestorDetached { reparented_timelines }))
}
