//! Where tenants are, and in which role.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract;
use axum::response::{IntoResponse, Response};
use http_server::ApiError;
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use pageserver_api::models::{
    LocationConfig, LocationConfigMode, TenantLocationResponse, TenantShardLocation,
};
use pageserver_api::shard::TenantShardId;
use serde_json::{Value, json};

use crate::config::LocationConf;
use crate::secondary::upload_heatmap;
use crate::tenant::slots::{Slot, SlotError};
use crate::tenant::{Location, SpawnMode, Tenant};

use super::{State, errors, tenant_of};

pub async fn put(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let flush = query.parse::<u64>("flush_ms")?.map(Duration::from_millis);
    let lazy = query.parse::<bool>("lazy")?.unwrap_or(false);
    let request = parse(body)?;
    if request.mode == LocationConfigMode::Detached {
        return detach(&state, shard).await;
    }
    let mode = if lazy { SpawnMode::Lazy } else { SpawnMode::Eager };
    let location = LocationConf::try_from(request).map_err(ApiError::bad_request)?;
    if location.shard.shard_index() != shard.to_index() {
        return Err(ApiError::bad_request(format!(
            "the shard of tenant {shard} contradicts shard_number and shard_count in the body"
        )));
    }
    let changed = state.tenants.upsert_location(shard, location, flush, mode);
    let changed = changed.await.map_err(errors::upsert_location)?;
    let answer = match &changed {
        Location::Attached(tenant) => {
            flush_heatmap(tenant, flush).await;
            let identity = tenant.shard_identity;
            TenantLocationResponse {
                shards: vec![TenantShardLocation { shard_id: shard, node_id: state.conf.id }],
                stripe_size: (identity.count.count() > 1).then_some(identity.stripe_size),
            }
        }
        Location::Secondary(_) => TenantLocationResponse { shards: Vec::new(), stripe_size: None },
    };
    Ok(Json(answer).into_response())
}

/// Whoever asks for a flush is about to move the tenant: its next home wants to know what to have
/// ready. Only a hint, so a failure is no more than a warning.
async fn flush_heatmap(tenant: &Arc<Tenant>, flush: Option<Duration>) {
    let Some(limit) = flush else {
        tracing::info!("No flush requested when configuring");
        return;
    };
    if !tenant.state.is_active() {
        return;
    }
    match tokio::time::timeout(limit, upload_heatmap(tenant, true)).await {
        Ok(Ok(_)) => {}
        Ok(Err(failure)) => tracing::warn!("Failed to flush heatmap: {failure}"),
        Err(_) => tracing::warn!("Failed to flush heatmap: it took longer than {limit:?}"),
    }
}

/// Reads the body; errors in tenant options name the option.
fn parse(body: Value) -> Result<LocationConfig, ApiError> {
    let failed =
        |text: String| ApiError::bad_request(format!("Failed to parse json request: {text}"));
    if let Some(Value::Object(options)) = body.get("tenant_conf") {
        pageserver_api::models::TenantConfigOverrides::from_json(options)
            .map_err(|text| failed(format!("tenant_conf.{text}")))?;
    }
    serde_json::from_value(body).map_err(|failure| failed(failure.to_string()))
}

/// Detaching what is not here is fine.
async fn detach(state: &State, shard: TenantShardId) -> Result<Response, ApiError> {
    use crate::tenant::manager::RemoveTenantError;
    match state.tenants.detach(shard).await {
        Ok(()) | Err(RemoveTenantError::Slot(SlotError::NotFound(_))) => {
            Ok(Json(()).into_response())
        }
        Err(failure) => Err(errors::remove_tenant(failure)),
    }
}

pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<Value>, ApiError> {
    let slots = state.tenants.list().map_err(errors::list_tenants)?;
    let shards: Vec<Value> = slots
        .into_iter()
        .map(|(shard, slot)| match slot {
            Slot::Occupied(location) => json!([shard, render(&location)]),
            Slot::InProgress(_) => json!([shard, Value::Null]),
        })
        .collect();
    Ok(Json(json!({ "tenant_shards": shards })))
}

pub async fn get(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<Value>, ApiError> {
    let shard: TenantShardId = path.parse("tenant_shard_id")?;
    match state.tenants.get_location(&shard) {
        Ok(location) => Ok(Json(render(&location))),
        Err(SlotError::InProgress(_)) => Ok(Json(Value::Null)),
        Err(SlotError::NotFound(_)) => Err(ApiError::not_found("Tenant shard not found")),
        Err(failure) => Err(errors::list_tenants(failure)),
    }
}

/// The location with every tenant option, unset ones as null.
fn render(location: &Location) -> Value {
    let location = LocationConfig::from(&location.conf());
    let options = location.tenant_conf.to_external();
    let mut value = serde_json::to_value(&location).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("tenant_conf".to_owned(), Value::Object(options));
    }
    value
}
