//! Section: how connections are encrypted.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tls::{ClientTls, SslMode};

use super::ConfigError;
use super::reader::Reader;

/// How connections are encrypted. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Address of the management API over TLS (`listen_https_addr`); none unless set.
    pub https_addr: Option<String>,
    /// Whether the page service is encrypted (`enable_tls_page_service_api`), default no. Clients
    /// that do not ask for it are refused then.
    pub page_service: bool,
    /// Private key, PEM (`ssl_key_file`), default `server.key`.
    pub key_file: Utf8PathBuf,
    /// Certificate and those above it, PEM (`ssl_cert_file`), default `server.crt`.
    pub cert_file: Utf8PathBuf,
    /// Both are read again this often (`ssl_cert_reload_period`), default 60 s.
    pub reload_period: Duration,
    /// How to connect to safekeepers (`walreceiver_sslmode`, default `disable`), and the
    /// certificates to trust then, PEM (`ssl_ca_file`).
    pub safekeepers: ClientTls,
}

impl TlsConfig {
    pub(super) fn read(reader: &mut Reader, workdir: &Utf8Path) -> Result<Self, ConfigError> {
        let allowed = "'disable', 'prefer', 'require', 'verify-ca' or 'verify-full'";
        let mode: SslMode = reader.take_parsed("walreceiver_sslmode", allowed)?.unwrap_or_default();
        let root_cert = reader.take_string("ssl_ca_file")?.map(|path| workdir.join(path));
        if mode >= SslMode::VerifyCa && root_cert.is_none() {
            return Err(ConfigError::Invalid {
                key: "walreceiver_sslmode",
                value: format!("'{mode}'"),
                reason: "it needs ssl_ca_file, the certificates to trust".to_owned(),
            });
        }
        let path = |given: Option<String>, default: &str| {
            workdir.join(given.unwrap_or_else(|| default.to_owned()))
        };
        Ok(TlsConfig {
            https_addr: reader.take_string("listen_https_addr")?,
            page_service: reader.take_bool("enable_tls_page_service_api")?.unwrap_or(false),
            key_file: path(reader.take_string("ssl_key_file")?, "server.key"),
            cert_file: path(reader.take_string("ssl_cert_file")?, "server.crt"),
            reload_period: reader
                .take_duration("ssl_cert_reload_period")?
                .unwrap_or(Duration::from_secs(60)),
            safekeepers: ClientTls { mode, root_cert },
        })
    }
}
