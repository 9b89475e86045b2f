//! Operations on a timeline that serves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract;
use chrono::{DateTime, SecondsFormat, Utc};
use http_server::ApiError;
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use pageserver_api::models::{LsnByTimestamp, LsnByTimestampKind, LsnLease, LsnLeaseRequest};
use utils::{Lsn, TimelineId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::{Keymap, LsnForTimestampKind};
use crate::tasks::TaskKind;
use crate::timeline::{FlushError, Timeline};

use super::timeline::active_tenant;
use super::{State, compact, errors, tenant_of};

/// 2000-01-01, where PostgreSQL's clock starts, in microseconds since the Unix epoch.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The timeline in a path, if it serves.
pub async fn active_timeline(
    state: &State,
    path: &PathParams,
    claims: &RequestClaims,
) -> Result<Arc<Timeline>, ApiError> {
    let shard = tenant_of(path, claims)?;
    let timeline_id: TimelineId = path.parse("timeline_id")?;
    let tenant = active_tenant(state, &shard).await?;
    tenant.get_active_timeline(timeline_id).map_err(errors::get_timeline)
}

/// Writes what is in memory to layer files, and compacts. Open to all builds: it loses nothing, and operators
/// use it before they move a tenant.
pub async fn checkpoint(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let flags = compact::flags(&query)?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    timeline.freeze_and_flush().await.map_err(|failure| flush_error(&timeline, failure))?;
    compact::run(&timeline, flags).await?;
    Ok(Json(()))
}

/// The position of the last commit at or before a time. Only shard zero has the commit times.
pub async fn get_lsn_by_timestamp(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<LsnByTimestamp>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    if !shard.is_shard_zero() {
        return Err(ApiError::bad_request("LSNs can be found by timestamp on shard zero only"));
    }
    let text: String = query.must_parse("timestamp")?;
    let with_lease = query.parse::<bool>("with_lease")?.unwrap_or(false);
    let timestamp = DateTime::parse_from_rfc3339(&text)
        .map_err(|failure| ApiError::bad_request(format!("Invalid time: {text:?}: {failure}")))?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let min = timeline.latest_gc_cutoff_lsn().max(timeline.ancestor_lsn());
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    let keys = timeline.keys(ctx);
    let now = Keymap::at(&keys, timeline.last_record_lsn());
    let micros = timestamp.timestamp_micros() - POSTGRES_EPOCH_MICROS;
    let found = now.find_lsn_for_timestamp(micros, min, &timeline.cancel).await;
    let found = found.map_err(|failure| match failure.is_cancel() {
        true => ApiError::Cancelled,
        false => ApiError::internal(failure),
    })?;
    let valid_until = with_lease.then(|| {
        let length = timeline.tenant_conf.load().effective.lsn_lease_length_for_ts;
        lease_end(&timeline, found.lsn, length)
    });
    Ok(Json(LsnByTimestamp {
        lsn: found.lsn,
        kind: match found.kind {
            LsnForTimestampKind::Present => LsnByTimestampKind::Present,
            LsnForTimestampKind::Future => LsnByTimestampKind::Future,
            LsnForTimestampKind::Past => LsnByTimestampKind::Past,
            LsnForTimestampKind::NoData => LsnByTimestampKind::NoData,
        },
        valid_until: valid_until.transpose()?,
    }))
}

/// The time of the latest commit at a position. Only shard zero has the commit times.
pub async fn get_timestamp_of_lsn(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<String>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    if !shard.is_shard_zero() {
        return Err(ApiError::bad_request("timestamps can be found by LSN on shard zero only"));
    }
    let lsn: Lsn = query.must_parse("lsn")?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let ctx = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);
    let keys = timeline.keys(ctx);
    let found = Keymap::at(&keys, lsn).timestamp_for_lsn().await;
    let found = found.map_err(|failure| match failure.is_cancel() {
        true => ApiError::Cancelled,
        false => ApiError::internal(failure),
    })?;
    let time = found
        .and_then(|micros| micros.checked_add(POSTGRES_EPOCH_MICROS))
        .and_then(DateTime::<Utc>::from_timestamp_micros);
    match time {
        Some(time) => Ok(Json(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
        None => Err(ApiError::not_found(format!("Timestamp for lsn {lsn} not found"))),
    }
}

/// Keeps a position readable for a while.
pub async fn lsn_lease(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
    JsonBody(request): JsonBody<LsnLeaseRequest>,
) -> Result<Json<LsnLease>, ApiError> {
    let timeline = active_timeline(&state, &path, &claims).await?;
    let length = timeline.tenant_conf.load().effective.lsn_lease_length;
    let valid_until = lease_end(&timeline, request.lsn, length)?;
    Ok(Json(LsnLease { valid_until }))
}

/// When a lease of `length` on `lsn` ends. Nothing is recorded: this version never removes what a
/// lease would protect, and refuses only what is below the cutoff already.
fn lease_end(timeline: &Timeline, lsn: Lsn, length: Duration) -> Result<String, ApiError> {
    timeline.check_lsn_is_in_scope(lsn).map_err(|failure| {
        ApiError::internal(anyhow::Error::new(failure).context("lsn lease http handler"))
    })?;
    let end: DateTime<Utc> = (SystemTime::now() + length).into();
    Ok(end.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn flush_error(timeline: &Timeline, failure: FlushError) -> ApiError {
    match timeline.cancel.is_cancelled() {
        true => ApiError::ShuttingDown,
        false => ApiError::internal(failure),
    }
}
