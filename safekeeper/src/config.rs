//! What the operator can set: command-line options, checked and given their types.
//!
//! [`Options`] is the command line as written, [`Config`] what the daemon runs with.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{ArgAction, Parser};
use remote_storage::RemoteStorageConfig;
use tls::{ClientTls, SslMode};
use utils::NodeId;

use crate::durability::Durability;

/// Where the broker is when nothing is said.
const DEFAULT_BROKER_ENDPOINT: &str = "http://127.0.0.1:50051";

/// Command line of the safekeeper. Any option may be repeated; the last one wins.
#[derive(Clone, Debug, Parser)]
#[command(about = "Stores WAL durably, as one of a quorum", args_override_self = true)]
#[command(disable_version_flag = true)]
pub struct Options {
    /// Data directory.
    #[arg(short = 'D', long, default_value = "./", value_name = "PATH")]
    pub datadir: Utf8PathBuf,
    /// Node id. Required on the first start; must equal the stored one later.
    #[arg(long, value_name = "N")]
    pub id: Option<NodeId>,
    /// Write the id file and exit.
    #[arg(long)]
    pub init: bool,
    /// Address of the WAL service.
    #[arg(short = 'l', long, default_value = "127.0.0.1:5454", value_name = "HOST:PORT")]
    pub listen_pg: String,
    /// Address of a second WAL service that accepts only tenant-scoped tokens.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen_pg_tenant_only: Option<String>,
    /// Address of the management API and metrics.
    #[arg(long, default_value = "127.0.0.1:7676", value_name = "HOST:PORT")]
    pub listen_http: String,
    /// Address of the management API and metrics over TLS; none if absent.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen_https: Option<String>,
    /// Encrypt the WAL service; clients that do not ask for it are refused.
    #[arg(long)]
    pub enable_tls_wal_service_api: bool,
    /// Private key for TLS, PEM.
    #[arg(long, default_value = "server.key", value_name = "PATH")]
    pub ssl_key_file: Utf8PathBuf,
    /// Certificate for TLS and those above it, PEM.
    #[arg(long, default_value = "server.crt", value_name = "PATH")]
    pub ssl_cert_file: Utf8PathBuf,
    /// Key and certificate are read again this often.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub ssl_cert_reload_period: Duration,
    /// Certificates to trust, PEM: other safekeepers must present one by them.
    #[arg(long, value_name = "PATH")]
    pub ssl_ca_file: Option<Utf8PathBuf>,
    /// Address of the WAL service as published through the broker; that of --listen-pg if absent.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_pg: Option<String>,
    /// Published through the broker and used as a label of traffic metrics.
    #[arg(long, value_name = "NAME")]
    pub availability_zone: Option<String>,
    /// Do not wait for disks. Loses data on a crash of the machine; for tests.
    #[arg(short = 'n', long)]
    pub no_sync: bool,
    /// Print this control file as JSON and exit.
    #[arg(long, value_name = "PATH")]
    pub dump_control_file: Option<Utf8PathBuf>,
    /// The storage broker; scheme https means TLS.
    #[arg(long, default_value = DEFAULT_BROKER_ENDPOINT, value_name = "URI")]
    pub broker_endpoint: String,
    /// HTTP/2 keepalive to the broker.
    #[arg(long, default_value = "5000 ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub broker_keepalive_interval: Duration,
    /// A peer not heard of for longer is taken for dead.
    #[arg(long, default_value = "5000ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub heartbeat_timeout: Duration,
    /// Fetch missing WAL from peers when no compute does it.
    #[arg(long, default_value_t = false, action = ArgAction::Set, value_name = "BOOL")]
    pub peer_recovery: bool,
    /// Object storage for WAL, as a TOML inline table such as `{local_path='/wal'}` or
    /// `{bucket_name='wal', bucket_region='eu-central-1'}`.
    #[arg(long, value_name = "TOML")]
    pub remote_storage: Option<String>,
    /// A safekeeper lagging more than this is not elected to archive WAL.
    #[arg(long, default_value_t = 134_217_728, value_name = "BYTES")]
    pub max_offloader_lag: u64,
    /// Concurrent segment uploads per timeline.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub wal_backup_parallel_jobs: usize,
    /// Do not archive WAL even if object storage is given.
    #[arg(long)]
    pub disable_wal_backup: bool,
    /// Public keys that WAL service tokens are checked against; empty disables checking.
    #[arg(long, value_name = "PATH")]
    pub pg_auth_public_key_path: Option<String>,
    /// The same for the tenant-only WAL service.
    #[arg(long, value_name = "PATH")]
    pub pg_tenant_only_auth_public_key_path: Option<String>,
    /// The same for HTTP.
    #[arg(long, value_name = "PATH")]
    pub http_auth_public_key_path: Option<String>,
    /// Form of the log, plain or json.
    #[arg(long, default_value = "plain", value_name = "FORMAT")]
    pub log_format: String,
    /// Run everything on one thread, for debugging.
    #[arg(long)]
    pub current_thread_runtime: bool,
    /// Keep WAL that connected pageservers have not received yet.
    #[arg(long)]
    pub walsenders_keep_horizon: bool,
    /// Accepted and ignored: partial segments are archived whenever there is object storage.
    #[arg(long)]
    pub partial_backup_enabled: bool,
    /// Wait before archiving a partial segment.
    #[arg(long, default_value = "15m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub partial_backup_timeout: Duration,
    /// Never publish to the broker on a timer, for tests of discovery.
    #[arg(long)]
    pub disable_periodic_broker_push: bool,
    /// Move idle timelines to object storage.
    #[arg(long)]
    pub enable_offload: bool,
    /// Delete the local segment of a timeline moved to object storage.
    #[arg(long)]
    pub delete_offloaded_wal: bool,
    /// Changed values in memory are saved after this time.
    #[arg(long, default_value = "300s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub control_file_save_interval: Duration,
    /// Concurrent uploads of partial segments.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub partial_backup_concurrency: usize,
    /// Print the version and exit.
    #[arg(short = 'V', long)]
    pub version: bool,
}

/// An option that cannot be honoured.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The broker's address is not a URI.
    #[error("option --broker-endpoint={value}: expected http://HOST:PORT or https://HOST:PORT")]
    BrokerEndpoint {
        /// As given.
        value: String,
    },
    /// An address without a port.
    #[error("option {option}={value}: expected HOST:PORT")]
    Address {
        /// The option.
        option: &'static str,
        /// As given.
        value: String,
    },
    /// The object storage is not described in TOML, or not one we know.
    #[error("option --remote-storage={value}: {source}")]
    RemoteStorage {
        /// As given.
        value: String,
        /// The cause.
        source: toml::de::Error,
    },
    /// Nothing could ever be archived.
    #[error("option {option}=0: at least 1 is needed")]
    NoUploads {
        /// The option.
        option: &'static str,
    },
    /// There is nowhere to move timelines to.
    #[error("option --enable-offload needs --remote-storage and no --disable-wal-backup")]
    NowhereToOffload,
}

/// What the daemon runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This safekeeper.
    pub id: NodeId,
    /// Where timelines live.
    pub workdir: Utf8PathBuf,
    /// How writes are forced to disk.
    pub durability: Durability,
    /// Address of the WAL service, as configured.
    pub listen_pg: String,
    /// Address of the tenant-only WAL service.
    pub listen_pg_tenant_only: Option<String>,
    /// Address of the management API.
    pub listen_http: String,
    /// Address of the management API over TLS.
    pub listen_https: Option<String>,
    /// Key and certificate of listeners with TLS.
    pub tls: TlsConfig,
    /// Address of the WAL service as others should use it.
    pub advertise_pg: String,
    /// Where this node is.
    pub availability_zone: Option<String>,
    /// The broker.
    pub broker_endpoint: String,
    /// HTTP/2 keepalive to the broker.
    pub broker_keepalive_interval: Duration,
    /// Publish positions on a timer.
    pub periodic_broker_push: bool,
    /// A peer not heard of for longer is taken for dead.
    pub heartbeat_timeout: Duration,
    /// Keep WAL that connected pageservers have not received yet.
    pub walsenders_keep_horizon: bool,
    /// Changed values in memory are saved after this time.
    pub control_file_save_interval: Duration,
    /// Object storage for WAL. With one, WAL not archived yet stays on the local disk.
    pub remote_storage: Option<RemoteStorageConfig>,
    /// This safekeeper archives WAL, if elected.
    pub wal_backup_enabled: bool,
    /// A safekeeper lagging more than this is not elected to archive WAL.
    pub max_offloader_lag_bytes: u64,
    /// Concurrent segment uploads per timeline, at least one.
    pub wal_backup_parallel_jobs: usize,
    /// Wait before archiving a partial segment.
    pub partial_backup_timeout: Duration,
    /// Concurrent uploads of partial segments, at least one.
    pub partial_backup_concurrency: usize,
    /// Fetch missing WAL from peers when no compute does it.
    pub peer_recovery: bool,
    /// Move idle timelines to object storage.
    pub enable_offload: bool,
    /// Delete the local segment of a timeline moved to object storage.
    pub delete_offloaded_wal: bool,
    /// Do everything on the runtime that the service is started on.
    pub current_thread_runtime: bool,
}

/// How connections are encrypted.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Whether the WAL services are encrypted, here and on peers.
    pub wal_service: bool,
    /// Private key, PEM.
    pub key_file: Utf8PathBuf,
    /// Certificate chain, PEM.
    pub cert_file: Utf8PathBuf,
    /// Both are read again this often.
    pub reload_period: Duration,
    /// Certificates to trust, PEM.
    pub ca_file: Option<Utf8PathBuf>,
}

impl TlsConfig {
    /// How to connect to the WAL services of peers.
    pub fn peers(&self) -> ClientTls {
        let mode = match (self.wal_service, &self.ca_file) {
            (false, _) => SslMode::Disable,
            (true, Some(_)) => SslMode::VerifyFull,
            (true, None) => SslMode::Require,
        };
        ClientTls { mode, root_cert: self.ca_file.clone() }
    }
}

impl Options {
    /// Checks the options and gives them their types. `id` is the stored or given node id.
    pub fn into_config(self, id: NodeId, workdir: Utf8PathBuf) -> Result<Config, ConfigError> {
        self.check_addresses()?;
        let remote_storage = self.parse_remote_storage()?;
        let wal_backup_enabled = remote_storage.is_some() && !self.disable_wal_backup;
        self.check_archiving(wal_backup_enabled)?;
        let advertise_pg = self.advertise_pg.unwrap_or_else(|| self.listen_pg.clone());
        Ok(Config {
            id,
            workdir,
            durability: if self.no_sync { Durability::Unsynced } else { Durability::Synced },
            listen_pg: self.listen_pg,
            listen_pg_tenant_only: self.listen_pg_tenant_only,
            listen_http: self.listen_http,
            listen_https: self.listen_https,
            tls: TlsConfig {
                wal_service: self.enable_tls_wal_service_api,
                key_file: self.ssl_key_file,
                cert_file: self.ssl_cert_file,
                reload_period: self.ssl_cert_reload_period,
                ca_file: self.ssl_ca_file,
            },
            advertise_pg,
            availability_zone: self.availability_zone,
            broker_endpoint: self.broker_endpoint,
            broker_keepalive_interval: self.broker_keepalive_interval,
            periodic_broker_push: !self.disable_periodic_broker_push,
            heartbeat_timeout: self.heartbeat_timeout,
            walsenders_keep_horizon: self.walsenders_keep_horizon,
            control_file_save_interval: self.control_file_save_interval,
            wal_backup_enabled,
            remote_storage,
            max_offloader_lag_bytes: self.max_offloader_lag,
            wal_backup_parallel_jobs: self.wal_backup_parallel_jobs,
            partial_backup_timeout: self.partial_backup_timeout,
            partial_backup_concurrency: self.partial_backup_concurrency,
            peer_recovery: self.peer_recovery,
            enable_offload: self.enable_offload,
            delete_offloaded_wal: self.delete_offloaded_wal,
            current_thread_runtime: self.current_thread_runtime,
        })
    }

    fn check_archiving(&self, wal_backup_enabled: bool) -> Result<(), ConfigError> {
        let jobs = [
            ("--wal-backup-parallel-jobs", self.wal_backup_parallel_jobs),
            ("--partial-backup-concurrency", self.partial_backup_concurrency),
        ];
        if let Some((option, _)) = jobs.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::NoUploads { option });
        }
        match self.enable_offload && !wal_backup_enabled {
            true => Err(ConfigError::NowhereToOffload),
            false => Ok(()),
        }
    }

    fn parse_remote_storage(&self) -> Result<Option<RemoteStorageConfig>, ConfigError> {
        #[derive(serde::Deserialize)]
        struct Document {
            remote_storage: RemoteStorageConfig,
        }
        let Some(table) = self.remote_storage.as_deref().filter(|table| !table.is_empty()) else {
            return Ok(None);
        };
        let document: Document = toml::from_str(&format!("remote_storage = {table}"))
            .map_err(|source| ConfigError::RemoteStorage { value: table.to_owned(), source })?;
        Ok(Some(document.remote_storage))
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        check_address("--listen-pg", Some(&self.listen_pg))?;
        check_address("--listen-pg-tenant-only", self.listen_pg_tenant_only.as_deref())?;
        check_address("--listen-http", Some(&self.listen_http))?;
        check_address("--listen-https", self.listen_https.as_deref())?;
        check_address("--advertise-pg", self.advertise_pg.as_deref())?;
        let endpoint = &self.broker_endpoint;
        let authority =
            endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        if authority.is_none_or(str::is_empty) {
            return Err(ConfigError::BrokerEndpoint { value: endpoint.clone() });
        }
        Ok(())
    }
}

fn check_address(option: &'static str, address: Option<&str>) -> Result<(), ConfigError> {
    let Some(address) = address else { return Ok(()) };
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => Err(ConfigError::Address { option, value: address.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
