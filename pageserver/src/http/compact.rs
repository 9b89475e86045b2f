//! Compaction on request.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use http_server::ApiError;
use http_server::extract::{PathParams, QueryParams, RequestClaims};

use super::State;
use super::timeline_ops::active_timeline;
use crate::context::{DownloadBehavior, RequestContext};
use crate::tasks::TaskKind;
use crate::timeline::{CompactFlags, Timeline};

/// The flags of a request.
pub fn flags(query: &QueryParams) -> Result<CompactFlags, ApiError> {
    // Keys are listed whenever images are made: there is nothing to force.
    query.parse::<bool>("force_repartition")?;
    let flag = |name| query.parse::<bool>(name).map(Option::unwrap_or_default);
    Ok(CompactFlags {
        force_image_layer_creation: flag("force_image_layer_creation")?,
        wait_until_uploaded: flag("wait_until_uploaded")?,
    })
}

/// Compacts a timeline, now.
pub async fn run(timeline: &Arc<Timeline>, flags: CompactFlags) -> Result<(), ApiError> {
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    timeline.compact(flags, &ctx).await.map_err(|failure| {
        match failure.is_cancelled() || timeline.cancel.is_cancelled() {
            true => ApiError::ShuttingDown,
            false => ApiError::internal(failure),
        }
    })
}

/// `PUT …/compact`.
pub async fn compact(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let flags = flags(&query)?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    run(&timeline, flags).await?;
    Ok(Json(()))
}
