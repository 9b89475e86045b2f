//! The form in which `GET location_config` shows tenant options, and errors that name the option.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{TenantConfig, TenantConfigOverrides};

/// Options whose values are durations.
const DURATION_KEYS: [&str; 10] = [
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

/// An option that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown field `{0}`, expected one of: {list}", list = TenantConfig::KEYS.join(", "))]
pub struct UnknownOption(pub String);

impl TenantConfigOverrides {
    /// Every option, unset ones as null; durations in whole seconds, such as `"80s"`.
    pub fn to_external(&self) -> Map<String, Value> {
        let Ok(Value::Object(set)) = serde_json::to_value(self) else { return Map::new() };
        TenantConfig::KEYS
            .iter()
            .map(|key| {
                let value = set.get(*key).cloned().unwrap_or(Value::Null);
                let is_duration = value.is_string() && DURATION_KEYS.contains(key);
                let value = if is_duration { whole_seconds(value) } else { value };
                ((*key).to_owned(), value)
            })
            .collect()
    }

    /// Reads options from a JSON object. The error text starts with the option's name.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, String> {
        serde_json::from_value(Value::Object(options.clone())).map_err(|whole| {
            let named = describe_error(options.iter(), |key, value| {
                let single: Map<String, Value> =
                    [(key.clone(), value.clone())].into_iter().collect();
                serde_json::from_value::<Self>(Value::Object(single)).err().map(|e| e.to_string())
            });
            named.unwrap_or_else(|| whole.to_string())
        })
    }

    /// Refuses keys that are no options.
    pub fn check_keys<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<(), UnknownOption> {
        match keys.find(|key| !TenantConfig::KEYS.contains(&key.as_str())) {
            Some(key) => Err(UnknownOption(key.clone())),
            None => Ok(()),
        }
    }
}

/// Finds the first option that does not parse by itself, and names it. Formats report only the
/// value, which is of little help when there are twenty options.
pub fn describe_error<'a, V: 'a>(
    mut options: impl Iterator<Item = (&'a String, &'a V)>,
    parse: impl Fn(&String, &V) -> Option<String>,
) -> Option<String> {
    options.find_map(|(key, value)| parse(key, value).map(|error| format!("{key}: {error}")))
}

fn whole_seconds(value: Value) -> Value {
    match humantime_serde::deserialize::<Duration, _>(&value) {
        Ok(duration) => Value::String(format!("{}s", duration.as_secs())),
        Err(_) => value,
    }
}
