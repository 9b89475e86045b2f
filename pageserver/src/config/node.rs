//! Section: the node itself, its store and the defaults of its tenants.

use camino::Utf8Path;
use pageserver_api::models::TenantConfigOverrides;
use pageserver_api::models::tenant_config::describe_error;
use remote_storage::RemoteStorageConfig;
use toml::{Table, Value};
use utils::NodeId;

use super::ConfigError;
use super::reader::Reader;

/// Keys of features that this version does not have. They are accepted so that one file serves
/// several versions.
const WITHOUT_EFFECT: [&str; 9] = [
    "cached_metric_collection_interval",
    "concurrent_tenant_size_logical_size_queries",
    "ephemeral_bytes_per_memory_kb",
    "l0_flush",
    "metric_collection_bucket",
    "metric_collection_endpoint",
    "metric_collection_interval",
    "synthetic_size_calculation_interval",
    "virtual_file_io_engine",
];

/// `id`: mandatory.
pub fn id(reader: &mut Reader) -> Result<NodeId, ConfigError> {
    reader.take_u64("id")?.map(NodeId).ok_or(ConfigError::Missing("id"))
}

/// `remote_storage`: mandatory. A relative directory is relative to the working directory.
pub fn remote_storage(
    reader: &mut Reader,
    workdir: &Utf8Path,
) -> Result<RemoteStorageConfig, ConfigError> {
    let allowed = "a table with the key local_path, or with bucket_name and bucket_region";
    let config: RemoteStorageConfig =
        reader.take("remote_storage", allowed)?.ok_or(ConfigError::NoRemoteStorage)?;
    Ok(config.relative_to(workdir))
}

/// `tenant_config`: options of tenants that set none themselves. Unknown keys inside are ignored.
pub fn tenant_config(reader: &mut Reader) -> Result<Option<TenantConfigOverrides>, ConfigError> {
    let Some(value) = reader.take_raw("tenant_config") else { return Ok(None) };
    let invalid = |value: &Value, reason: String| ConfigError::Invalid {
        key: "tenant_config",
        value: value.to_string(),
        reason,
    };
    let Value::Table(table) = value else {
        return Err(invalid(&value, "expected a table of tenant options".to_owned()));
    };
    tenant_options(&table).map(Some).map_err(|reason| invalid(&Value::Table(table.clone()), reason))
}

/// Reads tenant options from TOML; the error starts with the option's name.
pub fn tenant_options(table: &Table) -> Result<TenantConfigOverrides, String> {
    table.clone().try_into().map_err(|whole: toml::de::Error| {
        let named = describe_error(table.iter(), |key, value| {
            let single: Table = [(key.clone(), value.clone())].into_iter().collect();
            let parsed: Result<TenantConfigOverrides, toml::de::Error> = single.try_into();
            parsed.err().map(|error| error.message().to_owned())
        });
        named.unwrap_or_else(|| whole.message().to_owned())
    })
}

/// Takes the keys that have no effect; returns those that were set.
pub fn without_effect(reader: &mut Reader) -> Vec<&'static str> {
    WITHOUT_EFFECT.into_iter().filter(|key| reader.take_raw(key).is_some()).collect()
}
