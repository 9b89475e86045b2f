//! Section: where the process listens.

use super::ConfigError;
use super::reader::Reader;

/// Where the process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Address of the page service (`listen_pg_addr`), default `127.0.0.1:64000`.
    pub pg_addr: String,
    /// Address of the management API (`listen_http_addr`), default `127.0.0.1:9898`.
    pub http_addr: String,
}

impl ListenConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        Ok(ListenConfig {
            pg_addr: reader
                .take_string("listen_pg_addr")?
                .unwrap_or_else(|| "127.0.0.1:64000".to_owned()),
            http_addr: reader
                .take_string("listen_http_addr")?
                .unwrap_or_else(|| "127.0.0.1:9898".to_owned()),
        })
    }
}
