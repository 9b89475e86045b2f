//! Tenants: list, detail, options, deletion.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use http_server::ApiError;
use http_server::extract::{JsonBody, PathParams, QueryParams, RequestClaims};
use pageserver_api::models::{
    TenantConfigOverrides, TenantConfigResponse, TenantDetails, TenantInfo, WalRedoProcess,
    WalRedoStatus,
};
use pageserver_api::shard::TenantShardId;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utils::TenantId;

use crate::tenant::slots::Slot;
use crate::tenant::{ACTIVE_TENANT_TIMEOUT, Location, Tenant};

use super::{State, auth, errors, tenant_of};

pub async fn list(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<Vec<TenantInfo>>, ApiError> {
    let slots = state.tenants.list().map_err(errors::list_tenants)?;
    let attached = slots.into_iter().filter_map(|(_, slot)| match slot {
        Slot::Occupied(Location::Attached(tenant)) => Some(info(&tenant)),
        Slot::Occupied(Location::Secondary(_)) | Slot::InProgress(_) => None,
    });
    Ok(Json(attached.collect()))
}

pub async fn get(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<TenantDetails>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let tenant = state.tenants.get(&shard).map_err(errors::get_tenant)?;
    let activate = query.parse::<bool>("activate")?.unwrap_or(true);
    if cfg!(feature = "testing") && activate {
        // Best effort: whatever the state is in the end is what is reported.
        let _ = tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await;
    }
    let timelines = tenant.list_timelines();
    let size = timelines.iter().map(|timeline| timeline.current_physical_size()).sum();
    let mut ids: Vec<_> = timelines.iter().map(|timeline| timeline.timeline_id).collect();
    ids.extend(tenant.unloadable_timelines().into_keys());
    Ok(Json(TenantDetails {
        tenant_info: TenantInfo { current_physical_size: Some(size), ..info(&tenant) },
        walredo: Some(redo_status(&tenant).await),
        timelines: ids,
    }))
}

async fn redo_status(tenant: &Tenant) -> WalRedoStatus {
    let last_redo_at =
        tenant.redo.last_redo_at().map(|time| humantime::format_rfc3339_millis(time).to_string());
    let process = tenant.redo.process_ids().await.first().map(|pid| WalRedoProcess { pid: *pid });
    WalRedoStatus { last_redo_at, process }
}

fn info(tenant: &Tenant) -> TenantInfo {
    let state = tenant.state.current();
    TenantInfo {
        id: tenant.tenant_shard_id,
        attachment_status: state.attachment_status(),
        state,
        current_physical_size: None,
        generation: tenant.generation.into_option(),
    }
}

pub async fn delete(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    state.tenants.delete(shard).await.map_err(errors::remove_tenant)?;
    Ok(Json(()))
}

pub async fn config(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    claims: RequestClaims,
) -> Result<Json<TenantConfigResponse>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let tenant = state.tenants.get(&shard).map_err(errors::get_tenant)?;
    let conf = tenant.tenant_conf.load();
    Ok(Json(TenantConfigResponse {
        tenant_specific_overrides: conf.overrides.clone(),
        effective_config: conf.effective.clone(),
    }))
}

/// Body of `PUT /v1/tenant/config`: an unsharded tenant, and all options that it shall have.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TenantConfigRequest {
    tenant_id: TenantId,
    #[schemars(flatten)]
    options: TenantConfigOverrides,
}

impl<'de> Deserialize<'de> for TenantConfigRequest {
    /// By hand: errors name the option, and options that do not exist are refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut body = Map::<String, Value>::deserialize(deserializer)?;
        let id = body.remove("tenant_id").ok_or_else(|| D::Error::missing_field("tenant_id"))?;
        let tenant_id = serde_json::from_value(id)
            .map_err(|failure| D::Error::custom(format!("tenant_id: {failure}")))?;
        TenantConfigOverrides::check_keys(body.keys()).map_err(D::Error::custom)?;
        let options = TenantConfigOverrides::from_json(&body).map_err(D::Error::custom)?;
        Ok(TenantConfigRequest { tenant_id, options })
    }
}

/// Replaces all options of an unsharded tenant.
pub async fn set_config(
    extract::State(state): extract::State<Arc<State>>,
    claims: RequestClaims,
    JsonBody(request): JsonBody<TenantConfigRequest>,
) -> Result<Json<()>, ApiError> {
    let TenantConfigRequest { tenant_id, options } = request;
    auth::tenant(claims.0.as_ref(), tenant_id)?;
    let shard = TenantShardId::unsharded(tenant_id);
    let tenant = state.tenants.get(&shard).map_err(errors::get_tenant)?;
    tenant.wait_active(ACTIVE_TENANT_TIMEOUT).await.map_err(errors::wait_active)?;
    state.tenants.set_tenant_conf(&tenant, options).await.map_err(errors::upsert_location)?;
    Ok(Json(()))
}

/// Breaks a tenant, for tests.
pub async fn set_broken(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
) -> Result<Json<()>, ApiError> {
    let shard: TenantShardId = path.parse("tenant_shard_id")?;
    super::require_testing("set state of tenant to broken")?;
    let tenant = state.tenants.get(&shard).map_err(errors::get_tenant)?;
    tenant.set_broken("broken from test");
    Ok(Json(()))
}

/// Attaches a tenant anew in the same generation.
pub async fn reset(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let drop_cache = query.parse::<bool>("drop_cache")?.unwrap_or(false);
    state.tenants.reset(shard, drop_cache).await.map_err(ApiError::internal)?;
    Ok(Json(()))
}
