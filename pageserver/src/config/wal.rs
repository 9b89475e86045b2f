//! Section: where WAL comes from.

use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;

/// Where WAL comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalConfig {
    /// URL of the storage broker (`broker_endpoint`), default `http://127.0.0.1:50051`.
    pub broker_endpoint: String,
    /// Time between keepalives on that connection (`broker_keepalive_interval`), default 5 s.
    pub broker_keepalive_interval: Duration,
    /// Safekeepers in this zone are preferred (`availability_zone`).
    pub availability_zone: Option<String>,
    /// Records that are committed together (`ingest_batch_size`), default 100.
    pub ingest_batch_size: u64,
    /// How long a reader waits for WAL to arrive (`wait_lsn_timeout`), default 60 s.
    pub wait_lsn_timeout: Duration,
}

impl WalConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        Ok(WalConfig {
            broker_endpoint: broker_endpoint(reader)?,
            broker_keepalive_interval: reader
                .take_duration("broker_keepalive_interval")?
                .unwrap_or(Duration::from_secs(5)),
            availability_zone: reader.take_string("availability_zone")?,
            ingest_batch_size: reader.take_positive("ingest_batch_size")?.unwrap_or(100),
            wait_lsn_timeout: reader
                .take_duration("wait_lsn_timeout")?
                .unwrap_or(Duration::from_secs(60)),
        })
    }
}

fn broker_endpoint(reader: &mut Reader) -> Result<String, ConfigError> {
    let key = "broker_endpoint";
    let url = reader.take_string(key)?.unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    match reqwest::Url::parse(&url) {
        Ok(parsed) if parsed.has_host() && ["http", "https"].contains(&parsed.scheme()) => Ok(url),
        Ok(_) | Err(_) => Err(ConfigError::Invalid {
            key,
            value: format!("'{url}'"),
            reason: "expected a URL such as 'http://127.0.0.1:50051'".to_owned(),
        }),
    }
}
