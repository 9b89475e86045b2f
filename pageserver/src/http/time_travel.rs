//! Brings a tenant that is not here back to an earlier time.

use std::sync::Arc;
use std::time::SystemTime;

use axum::{Json, extract};
use chrono::DateTime;
use http_server::ApiError;
use http_server::extract::{PathParams, QueryParams, RequestClaims};
use remote_storage::RemoteStorageError;

use super::{State, errors, tenant_of};
use crate::tenant::manager::TimeTravelError;

pub async fn recover(
    extract::State(state): extract::State<Arc<State>>,
    path: PathParams,
    query: QueryParams,
    claims: RequestClaims,
) -> Result<Json<()>, ApiError> {
    let shard = tenant_of(&path, &claims)?;
    let travel_to = time(&query, "travel_to")?;
    let done_if_after = time(&query, "done_if_after")?;
    if done_if_after < travel_to {
        return Err(ApiError::bad_request(
            "The done_if_after timestamp comes before the timestamp to recover to",
        ));
    }
    let recovered = state.tenants.time_travel(shard, travel_to, done_if_after).await;
    recovered.map(Json).map_err(|error| match error {
        TimeTravelError::Slot(slot) => errors::slot(slot),
        TimeTravelError::Attached(_)
        | TimeTravelError::Storage(RemoteStorageError::BadInput(_)) => ApiError::bad_request(error),
        TimeTravelError::Path(_) | TimeTravelError::Storage(_) => ApiError::internal(error),
    })
}

fn time(query: &QueryParams, name: &str) -> Result<SystemTime, ApiError> {
    let text: String = query.must_parse(name)?;
    DateTime::parse_from_rfc3339(&text).map(SystemTime::from).map_err(|failure| {
        ApiError::bad_request(format!("Invalid time for {name}: {text:?}: {failure}"))
    })
}
