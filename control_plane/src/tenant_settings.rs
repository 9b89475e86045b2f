//! Tenant options on the command line: `-c key:value`.

use std::collections::BTreeMap;

use pageserver_api::models::TenantConfigOverrides;
use serde_json::{Map, Value};

/// Options were not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// A value is not of its key's type.
    #[error("Failed to parse '{key}' as {expected}: {value:?}")]
    Value {
        /// The option.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What was given.
        value: String,
    },
    /// There are no such options.
    #[error("Unrecognized tenant settings: {0:?}")]
    Unknown(BTreeMap<String, String>),
    /// A value has the right type but makes no sense.
    #[error("invalid tenant settings: {0}")]
    Invalid(String),
}

/// What the text of an option stands for.
enum Kind {
    Integer,
    Boolean,
    Json,
    Text,
}

const INTEGERS: [&str; 9] = [
    "checkpoint_distance",
    "compaction_target_size",
    "compaction_threshold",
    "gc_horizon",
    "image_creation_threshold",
    "image_layer_creation_check_threshold",
    "max_delta_chain_length",
    "max_lsn_wal_lag",
    "min_resident_size_override",
];
const BOOLEANS: [&str; 2] = ["trace_read_requests", "lazy_slru_download"];
const JSON: [&str; 3] = ["compaction_algorithm", "eviction_policy", "timeline_get_throttle"];
const TEXTS: [&str; 11] = [
    "switch_aux_file_policy",
    "checkpoint_timeout",
    "compaction_period",
    "gc_period",
    "pitr_interval",
    "walreceiver_connect_timeout",
    "lagging_wal_timeout",
    "evictions_low_residence_duration_metric_threshold",
    "heatmap_period",
    "lsn_lease_length",
    "lsn_lease_length_for_ts",
];

/// Reads the options. Arguments without a colon are ignored; of repeated keys the last wins.
pub fn parse(arguments: &[String]) -> Result<TenantConfigOverrides, SettingError> {
    let mut options = Map::new();
    let mut unknown = BTreeMap::new();
    for (key, value) in arguments.iter().filter_map(|argument| argument.split_once(':')) {
        match kind_of(key) {
            Some(kind) => {
                options.insert(key.to_owned(), parse_value(key, value, kind)?);
            }
            None => {
                unknown.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    if !unknown.is_empty() {
        return Err(SettingError::Unknown(unknown));
    }
    TenantConfigOverrides::from_json(&options).map_err(SettingError::Invalid)
}

fn kind_of(key: &str) -> Option<Kind> {
    if INTEGERS.contains(&key) {
        Some(Kind::Integer)
    } else if BOOLEANS.contains(&key) {
        Some(Kind::Boolean)
    } else if JSON.contains(&key) {
        Some(Kind::Json)
    } else if TEXTS.contains(&key) {
        Some(Kind::Text)
    } else {
        None
    }
}

fn parse_value(key: &str, value: &str, kind: Kind) -> Result<Value, SettingError> {
    let error =
        |expected| SettingError::Value { key: key.to_owned(), expected, value: value.to_owned() };
    match kind {
        Kind::Integer => value.parse::<u64>().map(Value::from).map_err(|_| error("an integer")),
        Kind::Boolean => value.parse::<bool>().map(Value::from).map_err(|_| error("a bool")),
        Kind::Json => serde_json::from_str(value).map_err(|_| error("JSON")),
        Kind::Text => Ok(Value::from(value)),
    }
}

#[cfg(test)]
mod tests;
