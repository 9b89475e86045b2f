//! Section: logs.

use utils::logging::LogFormat;

use super::ConfigError;
use super::reader::Reader;

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Form of log lines (`log_format`), default `plain`.
    pub log_format: LogFormat,
}

impl TelemetryConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let allowed = "'plain' or 'json'";
        let log_format = reader.take_parsed("log_format", allowed)?.unwrap_or_default();
        Ok(TelemetryConfig { log_format })
    }
}
