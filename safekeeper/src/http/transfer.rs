//! Routes that move whole timelines, and compare them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_server::ApiError;
use http_server::extract::{JsonBody, NoBody, PathParams, QueryParams};
use safekeeper_api::models::{
    PullTimelineRequest, PullTimelineResponse, TimelineCopyRequest, TimelineDigest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument;

use super::api_error;
use super::timeline::{Shared, ttid};
use crate::digest::DigestError;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::timelines::copy::CopyError;
use crate::timelines::pull::PullError;

/// Pieces on their way to a slow client.
const QUEUE_SIZE: usize = 4;

/// A body that is produced while it is being sent.
pub(super) fn streamed(pieces: mpsc::Receiver<std::io::Result<bytes::Bytes>>) -> Response {
    let kind = [(axum::http::header::CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::from_stream(ReceiverStream::new(pieces))).into_response()
}

pub(super) async fn snapshot(
    State(timelines): Shared,
    path: PathParams,
    _: NoBody,
) -> Result<Response, ApiError> {
    let ttid = ttid(&path)?;
    let timeline = timelines.get(ttid).map_err(api_error)?;
    let timeline = timeline.resident().await.map_err(api_error)?;
    let snapshot = Snapshot::begin(timeline).await.map_err(|error| match error {
        SnapshotError::Timeline(error) => api_error(error),
        other => ApiError::internal(other),
    })?;
    let (pieces, receiver) = mpsc::channel(QUEUE_SIZE);
    let span = tracing::info_span!("snapshot", %ttid);
    tokio::spawn(snapshot.send(pieces).instrument(span));
    Ok(streamed(receiver))
}

pub(super) async fn pull(
    State(timelines): Shared,
    JsonBody(request): JsonBody<PullTimelineRequest>,
) -> Result<Json<PullTimelineResponse>, ApiError> {
    timelines.pull(&request).await.map(Json).map_err(|error| match error {
        PullError::NoHosts => ApiError::bad_request(error),
        PullError::Timeline(error) => api_error(error),
        other => ApiError::internal(other),
    })
}

pub(super) async fn copy(
    State(timelines): Shared,
    path: PathParams,
    JsonBody(request): JsonBody<TimelineCopyRequest>,
) -> Result<Json<()>, ApiError> {
    let source = ttid(&path)?;
    let TimelineCopyRequest { target_timeline_id, until_lsn } = request;
    let copied = timelines.copy(source, target_timeline_id, until_lsn).await;
    copied.map(Json).map_err(|error| match error {
        CopyError::OutOfRange { .. } => ApiError::bad_request(error),
        CopyError::NotBackedUp { .. } => ApiError::internal(error),
        CopyError::Timeline(error) => api_error(error),
    })
}

pub(super) async fn digest(
    State(timelines): Shared,
    path: PathParams,
    query: QueryParams,
) -> Result<Json<TimelineDigest>, ApiError> {
    let ttid = ttid(&path)?;
    let from_lsn = query.must_parse("from_lsn")?;
    let until_lsn = query.must_parse("until_lsn")?;
    let timeline = timelines.get(ttid).map_err(api_error)?;
    let timeline = timeline.resident().await.map_err(api_error)?;
    match crate::digest::digest(&timeline, from_lsn, until_lsn).await {
        Ok(sha256) => Ok(Json(TimelineDigest { sha256 })),
        Err(DigestError::Timeline(error)) => Err(api_error(error)),
        Err(error @ DigestError::OutOfRange { .. }) => Err(ApiError::bad_request(error)),
    }
}
