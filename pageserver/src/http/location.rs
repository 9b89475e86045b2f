//! Where tenants are, and in which role.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract;
use http_server::ApiError;
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use pageserver_api::models::{
    LocationConfig, LocationConfigList, LocationConfigMode, TenantConfigOverrides,
    TenantLocationResponse, TenantShardLocation,
};
use pageserver_api::shard::TenantShardId;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

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
    JsonBody(LocationRequest(request)): JsonBody<LocationRequest>,
) -> Result<Json<Option<TenantLocationResponse>>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let flush = query.parse::<u64>("flush_ms")?.map(Duration::from_millis);
    let lazy = query.parse::<bool>("lazy")?.unwrap_or(false);
    if request.mode == LocationConfigMode::Detached {
        detach(&state, shard).await?;
        return Ok(Json(None));
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
    Ok(Json(Some(answer)))
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

/// A location whose errors in tenant options name the option.
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
pub struct LocationRequest(LocationConfig);

impl<'de> Deserialize<'de> for LocationRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Value::deserialize(deserializer)?;
        if let Some(Value::Object(options)) = body.get("tenant_conf") {
            TenantConfigOverrides::from_json(options)
                .map_err(|text| D::Error::custom(format!("tenant_conf.{text}")))?;
        }
        serde_json::from_value(body).map(LocationRequest).map_err(D::Error::custom)
    }
}

/// A location with every tenant option, unset ones as null.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownLocation {
    #[serde(flatten)]
    #[schemars(with = "LocationConfig")]
    fields: Map<String, Value>,
}

/// Detaching what is not here is fine.
async fn detach(state: &State, shard: TenantShardId) -> Result<(), ApiError> {
    use crate::tenant::manager::RemoveTenantError;
    match state.tenants.detach(shard).await {
        Ok(()) | Err(RemoveTenantError::Slot(SlotError::NotFound(_))) => Ok(()),
        Err(failure) => Err(errors::remove_tenant(failure)),
    }
}

pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<LocationConfigList<ShownLocation>>, ApiError> {
    let slots = state.tenants.list().map_err(errors::list_tenants)?.into_iter();
    let shards = slots.map(|(shard, slot)| match slot {
        Slot::Occupied(location) => (shard, Some(show(&location))),
        Slot::InProgress(_) => (shard, None),
    });
    Ok(Json(LocationConfigList { tenant_shards: shards.collect() }))
}

pub async fn get(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<Option<ShownLocation>>, ApiError> {
    let shard: TenantShardId = path.parse("tenant_shard_id")?;
    match state.tenants.get_location(&shard) {
        Ok(location) => Ok(Json(Some(show(&location)))),
        Err(SlotError::InProgress(_)) => Ok(Json(None)),
        Err(SlotError::NotFound(_)) => Err(ApiError::not_found("Tenant shard not found")),
        Err(failure) => Err(errors::list_tenants(failure)),
    }
}

fn show(location: &Location) -> ShownLocation {
    let location = LocationConfig::from(&location.conf());
    let options = location.tenant_conf.to_external();
    let mut fields = match serde_json::to_value(&location) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    fields.insert("tenant_conf".to_owned(), Value::Object(options));
    ShownLocation { fields }
}
