//! Takes keys out of a TOML table one by one, so that those left over can be refused.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;

/// A table being consumed.
pub struct Reader {
    table: Table,
    known: Vec<&'static str>,
}

impl Reader {
    pub fn new(table: Table) -> Self {
        Reader { table, known: Vec::new() }
    }

    /// Removes the raw value of a key.
    pub fn take_raw(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// Removes a value of any type that serde can read. `allowed` is for the error message.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        allowed: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.take_raw(key) else { return Ok(None) };
        let text = value.to_string();
        value.try_into().map(Some).map_err(|source: toml::de::Error| ConfigError::Invalid {
            key,
            value: text,
            reason: format!("{}; expected {allowed}", source.message()),
        })
    }

    /// Removes a string.
    pub fn take_string(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.take(key, "a string")
    }

    /// Removes a string in quotes that stands for something else.
    pub fn take_parsed<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
    ) -> Result<Option<T>, ConfigError>
    where
        T: FromStr<Err: Display>,
    {
        let Some(text) = self.take_string(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| ConfigError::Invalid {
            key,
            value: format!("'{text}'"),
            reason: format!("{error}; expected {allowed}"),
        })
    }

    /// Removes a duration, such as `10s` or `1 min`.
    pub fn take_duration(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let allowed = "a duration such as '10s' or '1h 30m'";
        let duration = self.take_parsed::<humantime::Duration>(key, allowed)?;
        Ok(duration.map(Duration::from))
    }

    /// Removes a number that is not negative.
    pub fn take_u64(&mut self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        self.take(key, "an integer that is not negative")
    }

    /// Removes a number of at least 1.
    pub fn take_positive(&mut self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        let allowed = "an integer of at least 1";
        let number: Option<std::num::NonZeroU64> = self.take(key, allowed)?;
        Ok(number.map(std::num::NonZeroU64::get))
    }

    /// Removes a boolean.
    pub fn take_bool(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        self.take(key, "true or false")
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), ConfigError> {
        let Reader { table, mut known } = self;
        known.sort_unstable();
        match table.into_iter().next() {
            None => Ok(()),
            Some((key, value)) => Err(ConfigError::Unrecognized {
                key,
                value: value.to_string(),
                known: known.join(", "),
            }),
        }
    }
}
