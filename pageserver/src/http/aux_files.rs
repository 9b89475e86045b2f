//! Auxiliary files: how they are stored, and for tests which there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use bytes::Bytes;
use http_server::ApiError;
use http_server::extract::{JsonBody, PathParams, RequestClaims};
use pageserver_api::models::AuxFilePolicy;
use schemars::JsonSchema;
use serde::Deserialize;
use utils::Lsn;

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::{DatadirModification, Keymap, KeymapError};
use crate::tasks::TaskKind;

use super::timeline_ops::active_timeline;
use super::{State, require_testing};

const CTX: RequestContext = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
/// Records end at multiples of this.
const NEXT_RECORD: u64 = 8;

fn keymap_error(failure: KeymapError) -> ApiError {
    match failure.is_cancel() {
        true => ApiError::ShuttingDown,
        false => ApiError::internal(failure),
    }
}

/// Writes down that a timeline's files are stored in another way than they were: for when that is
/// known to be so.
pub async fn force_policy(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(policy): JsonBody<String>,
) -> Result<Json<()>, ApiError> {
    let policy: AuxFilePolicy = policy.parse().map_err(ApiError::bad_request)?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let recorded = timeline.remote_client.record_aux_file_policy(policy);
    recorded.map_err(|_| ApiError::ShuttingDown)?;
    Ok(Json(()))
}

/// Body of `POST …/ingest_aux_files`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct IngestAuxFiles {
    /// Content by path; an empty one removes the file.
    aux_files: BTreeMap<String, String>,
}

/// Writes files as if they had come in one record of WAL.
pub async fn ingest(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(IngestAuxFiles { aux_files }): JsonBody<IngestAuxFiles>,
) -> Result<Json<()>, ApiError> {
    require_testing("ingest aux files")?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let keys = timeline.keys(CTX);
    let last = timeline.last_record_lsn();
    let mut modification = DatadirModification::begin(&keys, timeline.pg_major, last);
    modification.set_lsn(last + NEXT_RECORD).map_err(ApiError::internal)?;
    for (path, content) in aux_files {
        let written = modification.put_aux_file(&path, Bytes::from(content)).await;
        written.map_err(ApiError::internal)?;
    }
    modification.commit().await.map_err(ApiError::internal)?;
    Ok(Json(()))
}

/// Body of `POST …/list_aux_files`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct ListAuxFiles {
    /// As of when.
    lsn: Lsn,
}

/// The files at a position.
pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(ListAuxFiles { lsn }): JsonBody<ListAuxFiles>,
) -> Result<Json<BTreeMap<String, Vec<u8>>>, ApiError> {
    require_testing("list aux files")?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let keys = timeline.keys(CTX);
    let files = Keymap::at(&keys, lsn).aux_files().await.map_err(keymap_error)?;
    Ok(Json(files.into_iter().map(|(path, content)| (path, content.to_vec())).collect()))
}
