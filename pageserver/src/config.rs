//! The pageserver's configuration: `pageserver.toml`, overrides from the command line, and the
//! location file of each tenant.
//!
//! One file per section. A section is a struct of serialisable settings with defaults; it knows
//! its keys, their types and what is allowed. Nothing here opens ports or starts anything.

mod auth;
mod disk_usage;
mod engine;
mod error;
mod limits;
mod listen;
pub mod location;
mod node;
mod postgres;
mod reader;
mod redo;
mod telemetry;
mod tls;
mod upcalls;
mod wal;

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::models::{TenantConfig, TenantConfigOverrides};
use pageserver_api::shard::TenantShardId;
use remote_storage::RemoteStorageConfig;
use utils::{NodeId, TimelineId};

pub use self::tls::TlsConfig;
pub use auth::{AuthConfig, AuthType};
pub use disk_usage::{
    DiskUsageEvictionConfig, EvictionOrder, MockStatvfs, MockedError, RelativeAccessed,
};
pub use engine::{EngineConfig, ImageCompression};
pub use error::ConfigError;
pub use limits::LimitsConfig;
pub use listen::ListenConfig;
pub use location::{AttachMode, AttachedTenantConf, LocationConf, LocationMode, TenantConfHandle};
pub use postgres::{PostgresConfig, PostgresNotFound};
pub use redo::{HelperCommand, RedoConfig, RedoEngine};
pub use telemetry::TelemetryConfig;
pub use upcalls::{Secret, UpcallConfig};
pub use wal::WalConfig;

use reader::Reader;

/// Name of the configuration file in the working directory.
pub const CONFIG_FILE_NAME: &str = "pageserver.toml";
/// Name of the directory that holds tenants, in the working directory.
const TENANTS_DIR_NAME: &str = "tenants";
/// Name of the directory that holds timelines, in a tenant's directory.
const TIMELINES_DIR_NAME: &str = "timelines";
/// Name of a tenant's location file.
const LOCATION_FILE_NAME: &str = "config-v1";

/// Everything the process was configured with. Immutable after start.
#[derive(Clone, Debug)]
pub struct PageServerConf {
    /// The node's id (`id`).
    pub id: NodeId,
    /// The working directory, absolute.
    pub workdir: Utf8PathBuf,
    /// Where to listen.
    pub listen: ListenConfig,
    /// How connections are encrypted.
    pub tls: TlsConfig,
    /// Who may connect.
    pub auth: AuthConfig,
    /// Where PostgreSQL's programs are.
    pub postgres: PostgresConfig,
    /// Where WAL comes from.
    pub wal: WalConfig,
    /// Where objects are kept (`remote_storage`).
    pub remote_storage: RemoteStorageConfig,
    /// Options of tenants that set none themselves (`tenant_config`).
    pub tenant_defaults: TenantConfig,
    /// How layers are read and written.
    pub engine: EngineConfig,
    /// Where WAL records are applied to pages.
    pub redo: RedoConfig,
    /// Concurrency.
    pub limits: LimitsConfig,
    /// Eviction under disk pressure (`disk_usage_based_eviction`); `None` when turned off.
    pub disk_usage_eviction: Option<DiskUsageEvictionConfig>,
    /// The control plane.
    pub upcalls: UpcallConfig,
    /// Logs and consumption metrics.
    pub telemetry: TelemetryConfig,
    /// Keys that were set but have no effect in this version; the log says so at start.
    pub without_effect: Vec<&'static str>,
}

impl PageServerConf {
    /// Reads a configuration document. `overrides` are TOML documents whose top-level keys
    /// replace those of the document.
    pub fn parse(
        document: &str,
        overrides: &[String],
        workdir: &Utf8Path,
    ) -> Result<Self, ConfigError> {
        let table = merge(document, overrides)?;
        let mut reader = Reader::new(table);
        let conf = Self::read(&mut reader, workdir)?;
        reader.finish()?;
        Ok(conf)
    }

    fn read(reader: &mut Reader, workdir: &Utf8Path) -> Result<Self, ConfigError> {
        let tenant_overrides: TenantConfigOverrides =
            node::tenant_config(reader)?.unwrap_or_default();
        Ok(PageServerConf {
            id: node::id(reader)?,
            listen: ListenConfig::read(reader)?,
            tls: TlsConfig::read(reader, workdir)?,
            auth: AuthConfig::read(reader, workdir)?,
            postgres: PostgresConfig::read(reader, workdir)?,
            wal: WalConfig::read(reader)?,
            remote_storage: node::remote_storage(reader, workdir)?,
            tenant_defaults: tenant_overrides.merge(&TenantConfig::default()),
            engine: EngineConfig::read(reader)?,
            redo: RedoConfig::read(reader)?,
            limits: LimitsConfig::read(reader)?,
            disk_usage_eviction: disk_usage::read(reader)?,
            upcalls: UpcallConfig::read(reader)?,
            telemetry: TelemetryConfig::read(reader)?,
            without_effect: node::without_effect(reader),
            workdir: workdir.to_owned(),
        })
    }

    /// The directory that holds tenants.
    pub fn tenants_path(&self) -> Utf8PathBuf {
        self.workdir.join(TENANTS_DIR_NAME)
    }

    /// The directory of one tenant shard.
    pub fn tenant_path(&self, shard: &TenantShardId) -> Utf8PathBuf {
        self.tenants_path().join(shard.to_string())
    }

    /// The location file of one tenant shard.
    pub fn tenant_location_path(&self, shard: &TenantShardId) -> Utf8PathBuf {
        self.tenant_path(shard).join(LOCATION_FILE_NAME)
    }

    /// The directory that holds a tenant shard's timelines.
    pub fn timelines_path(&self, shard: &TenantShardId) -> Utf8PathBuf {
        self.tenant_path(shard).join(TIMELINES_DIR_NAME)
    }

    /// The directory of one timeline.
    pub fn timeline_path(&self, shard: &TenantShardId, timeline: &TimelineId) -> Utf8PathBuf {
        self.timelines_path(shard).join(timeline.to_string())
    }

    /// The heatmap that a secondary location downloaded last.
    pub fn heatmap_path(&self, shard: &TenantShardId) -> Utf8PathBuf {
        self.tenant_path(shard).join(layer_format::paths::HEATMAP_FILE_NAME)
    }

    /// The directory of the deletion queue's files.
    pub fn deletion_path(&self) -> Utf8PathBuf {
        self.workdir.join("deletion")
    }

    /// A configuration for tests: local remote storage in the working directory, no authentication.
    #[cfg(test)]
    pub fn for_tests(workdir: &Utf8Path) -> &'static PageServerConf {
        let document = "id = 1\nremote_storage = { local_path = 'remote' }";
        let conf = PageServerConf::parse(document, &[], workdir).expect("test configuration");
        Box::leak(Box::new(conf))
    }
}

/// Applies the overrides to the document, key by key.
fn merge(document: &str, overrides: &[String]) -> Result<toml::Table, ConfigError> {
    let parse = |origin: &str, text: &str| {
        text.parse::<toml::Table>().map_err(|source| ConfigError::Syntax {
            origin: origin.to_owned(),
            source: Box::new(source),
        })
    };
    let mut table = parse(CONFIG_FILE_NAME, document)?;
    for text in overrides {
        table.extend(parse(&format!("override '{text}'"), text)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
