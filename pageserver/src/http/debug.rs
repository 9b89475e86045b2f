//! Routes for operators who look for a fault, for tools and for tests.

use std::cmp::Reverse;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_server::ApiError;
use http_server::document::{Body, ResponseBody};
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use pageserver_api::Key;
use pageserver_api::keyspace::KeySpace;
use pageserver_api::shard::TenantShardId;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use utils::{Lsn, TenantId};

use crate::context::{DownloadBehavior, RequestContext};
use crate::keymap::{Keymap, PartitionedKeys};
use crate::tasks::TaskKind;
use crate::tenant::Tenant;
use crate::timeline::Timeline;

use super::timeline_ops::active_timeline;
use super::{State, require_testing};

const OCTETS: &str = "application/octet-stream";
const CTX: RequestContext = RequestContext::new(TaskKind::MgmtRequest, DownloadBehavior::Download);

/// Panics and survives it, so that one can see whether panics are reported.
pub async fn panic(uri: Uri) -> StatusCode {
    let query = uri.query().map(str::to_owned);
    let panicking = AssertUnwindSafe(|| {
        panic!("unconditional panic for testing panic hook integration; request query: {query:?}")
    });
    // The hook has reported it; that is all there is to it.
    let _: Result<(), _> = std::panic::catch_unwind(panicking);
    StatusCode::NO_CONTENT
}

/// Body of `POST /v1/tracing/event`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TracingEvent {
    level: Level,
    message: String,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Writes a line to the log.
pub async fn tracing_event(JsonBody(event): JsonBody<TracingEvent>) -> Result<Json<()>, ApiError> {
    require_testing("emit tracing event")?;
    let TracingEvent { level, message } = event;
    match level {
        Level::Error => tracing::error!(?message),
        Level::Warn => tracing::warn!(?message),
        Level::Info => tracing::info!(?message),
        Level::Debug => tracing::debug!(?message),
        Level::Trace => tracing::trace!(?message),
    }
    Ok(Json(()))
}

/// Chooses how files are read. There is one way.
pub async fn set_io_engine(JsonBody(engine): JsonBody<String>) -> Result<Json<()>, ApiError> {
    match engine.as_str() {
        "std-fs" => Ok(Json(())),
        other => Err(ApiError::bad_request(format!(
            "I/O engine {other:?} is not available in this version; expected \"std-fs\""
        ))),
    }
}

/// Body of `POST /v1/top_tenants`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TopTenantsRequest {
    order_by: Order,
    limit: usize,
    #[serde(default)]
    where_shards_lt: Option<u8>,
    #[serde(default)]
    where_gt: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    ResidentSize,
    MaxLogicalSize,
}

/// The sizes of one shard.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TopTenant {
    id: TenantShardId,
    resident_size: u64,
    physical_size: u64,
    max_logical_size: u64,
}

/// Answer of `POST /v1/top_tenants`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TopTenants {
    shards: Vec<TopTenant>,
}

impl TopTenant {
    fn measure(tenant: &Tenant) -> Self {
        let timelines = tenant.list_timelines();
        let sizes = timelines.iter().map(|timeline| timeline.logical_size().current().bytes());
        TopTenant {
            id: tenant.tenant_shard_id,
            resident_size: timelines.iter().map(|t| t.resident_physical_size()).sum(),
            physical_size: timelines.iter().map(|t| t.current_physical_size()).sum(),
            max_logical_size: sizes.max().unwrap_or(0),
        }
    }

    fn by(&self, order: Order) -> u64 {
        match order {
            Order::ResidentSize => self.resident_size,
            Order::MaxLogicalSize => self.max_logical_size,
        }
    }
}

/// The attached shards that are largest.
pub async fn top_tenants(
    extract::State(state): extract::State<Arc<State>>,
    JsonBody(request): JsonBody<TopTenantsRequest>,
) -> Json<TopTenants> {
    let TopTenantsRequest { order_by, limit, where_shards_lt, where_gt } = request;
    let mut shards: Vec<TopTenant> = state
        .tenants
        .attached()
        .iter()
        .filter(|tenant| {
            where_shards_lt.is_none_or(|count| tenant.tenant_shard_id.shard_count.count() < count)
        })
        .map(|tenant| TopTenant::measure(tenant))
        .filter(|shard| where_gt.is_none_or(|size| shard.by(order_by) > size))
        .collect();
    shards.sort_by_key(|shard| Reverse(shard.by(order_by)));
    shards.truncate(limit);
    Json(TopTenants { shards })
}

/// A shard in remote storage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredShard {
    tenant_shard_id: TenantShardId,
    /// The newest; null if no index was found.
    generation: Option<u32>,
}

/// Answer of `GET …/scan_remote_storage`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredShards {
    shards: Vec<StoredShard>,
}

/// The shards of a tenant that are in remote storage, attached or not.
pub async fn scan_remote_storage(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<StoredShards>, ApiError> {
    let tenant: TenantId = path.parse("tenant_shard_id")?;
    let found = state.tenants.scan_remote_storage(tenant).await.map_err(ApiError::internal)?;
    if found.is_empty() {
        return Err(ApiError::not_found(format!("No shards found for tenant ID {tenant}")));
    }
    let shards = found.into_iter().map(|(tenant_shard_id, generation)| StoredShard {
        tenant_shard_id,
        generation: generation.into_option(),
    });
    Ok(Json(StoredShards { shards: shards.collect() }))
}

fn ranges(keys: &KeySpace) -> Vec<[String; 2]> {
    keys.ranges.iter().map(|range| [range.start.to_string(), range.end.to_string()]).collect()
}

/// Answer of `GET …/keyspace`: half-open ranges of keys in hexadecimal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyspaceAnswer {
    /// Ranges in which every key has a value.
    keys: Vec<[String; 2]>,
    /// Ranges in which some have.
    sparse_keys: Vec<[String; 2]>,
    /// Where that is so.
    at_lsn: Lsn,
}

/// The keys that have values.
pub async fn keyspace(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<KeyspaceAnswer>, ApiError> {
    let at_lsn = query.parse::<Lsn>("at_lsn")?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let at_lsn = at_lsn.unwrap_or_else(|| timeline.last_record_lsn());
    let found = collect_keyspace(&timeline, at_lsn).await?;
    let (keys, sparse_keys) = (ranges(&found.dense), ranges(&found.sparse));
    Ok(Json(KeyspaceAnswer { keys, sparse_keys, at_lsn }))
}

/// How layers are stacked over some keys.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyRangeStack {
    /// First key, in hexadecimal.
    start: String,
    /// The key after the last one.
    end: String,
    /// Whether there is an image of them.
    has_image: bool,
    /// Deltas that a read of the newest version may have to visit.
    num_of_deltas_above_image: usize,
    /// Deltas of the whole history.
    total_num_of_deltas: usize,
}

/// How layers are stacked over the keys that have values.
pub async fn perf_info(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<Json<Vec<KeyRangeStack>>, ApiError> {
    require_testing("get perf info")?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let lsn = timeline.last_record_lsn();
    let found = collect_keyspace(&timeline, lsn).await?;
    let stacks = timeline.layer_stacks(&found.dense, lsn).into_iter();
    let shown = stacks.map(|stack| KeyRangeStack {
        start: stack.keys.start.to_string(),
        end: stack.keys.end.to_string(),
        has_image: stack.has_image,
        num_of_deltas_above_image: stack.deltas_above_image,
        total_num_of_deltas: stack.deltas,
    });
    Ok(Json(shown.collect()))
}

async fn collect_keyspace(timeline: &Arc<Timeline>, lsn: Lsn) -> Result<PartitionedKeys, ApiError> {
    let keys = timeline.keys(CTX);
    let found = Keymap::at(&keys, lsn).collect_keyspace(timeline.pg_major).await;
    found.map_err(|failure| match failure.is_cancel() {
        true => ApiError::ShuttingDown,
        false => ApiError::internal(failure),
    })
}

/// A value as it is.
pub struct RawValue(Bytes);

impl IntoResponse for RawValue {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, OCTETS)], self.0).into_response()
    }
}

impl ResponseBody for RawValue {
    fn response_body(_: &mut SchemaGenerator) -> Option<Body> {
        let schema = json_schema!({ "type": "string", "format": "binary" });
        Some(Body { media_type: OCTETS, schema, required: true })
    }
}

/// One value.
pub async fn get_page(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<RawValue, ApiError> {
    require_testing("getpage")?;
    let missing = |name: &str| ApiError::bad_request(format!("missing '{name}' query parameter"));
    let key: Key = query.parse("key")?.ok_or_else(|| missing("key"))?;
    let lsn: Lsn = query.parse("lsn")?.ok_or_else(|| missing("lsn"))?;
    let timeline = active_timeline(&state, &path, &claims).await?;
    let page = timeline.get(key, lsn, &CTX).await.map_err(ApiError::internal)?;
    Ok(RawValue(page))
}
