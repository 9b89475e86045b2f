//! The description that `init` makes a repo from.

use std::net::SocketAddr;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use utils::{NodeId, TenantId};

use super::{BrokerConf, ConfigError, SafekeeperConf, StorageControllerConf};

/// First ports of the default installation.
const BROKER_PORT: u16 = 50051;
const SAFEKEEPER_PG_PORT: u16 = 5454;
const SAFEKEEPER_HTTP_PORT: u16 = 7676;
const PAGESERVER_PG_PORT: u16 = 64000;
const PAGESERVER_HTTP_PORT: u16 = 9898;
/// A quorum survives the loss of one.
const SAFEKEEPERS: u16 = 3;

/// What `init` is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConf {
    /// Where PostgreSQL is.
    #[serde(default)]
    pub pg_distrib_dir: Option<Utf8PathBuf>,
    /// Where the daemons' binaries are.
    #[serde(default)]
    pub neon_distrib_dir: Option<Utf8PathBuf>,
    /// The tenant of commands that name none.
    pub default_tenant_id: TenantId,
    /// Make certificates, and encrypt everything with them.
    #[serde(default)]
    pub generate_local_ssl_certs: bool,
    /// The storage broker.
    pub broker: BrokerConf,
    /// The storage controller.
    #[serde(default)]
    pub storage_controller: StorageControllerConf,
    /// The pageservers: any keys of pageserver.toml.
    pub pageservers: Vec<toml::Table>,
    /// The safekeepers.
    pub safekeepers: Vec<SafekeeperConf>,
    /// The storage controller's address for pageservers.
    #[serde(default)]
    pub control_plane_api: Option<String>,
    /// Whom the storage controller tells about moved tenants.
    #[serde(default)]
    pub control_plane_compute_hook_api: Option<String>,
}

impl InitConf {
    /// The installation one gets without describing one: a broker, three safekeepers and
    /// `num_pageservers` pageservers, on the default ports.
    pub fn with_defaults(num_pageservers: u16) -> InitConf {
        let pageserver = |index: u16| {
            let mut entry = toml::Table::new();
            let address = |first: u16| format!("127.0.0.1:{}", first + index);
            entry.insert("id".to_owned(), i64::from(index + 1).into());
            entry.insert("listen_pg_addr".to_owned(), address(PAGESERVER_PG_PORT).into());
            entry.insert("listen_http_addr".to_owned(), address(PAGESERVER_HTTP_PORT).into());
            entry.insert("pg_auth_type".to_owned(), "Trust".into());
            entry.insert("http_auth_type".to_owned(), "Trust".into());
            entry
        };
        let safekeeper = |index: u16| SafekeeperConf {
            id: NodeId(u64::from(index) + 1),
            pg_port: SAFEKEEPER_PG_PORT + index,
            http_port: SAFEKEEPER_HTTP_PORT + index,
            ..SafekeeperConf::default()
        };
        InitConf {
            pg_distrib_dir: None,
            neon_distrib_dir: None,
            default_tenant_id: TenantId::default(),
            generate_local_ssl_certs: false,
            broker: BrokerConf { listen_addr: SocketAddr::from(([127, 0, 0, 1], BROKER_PORT)) },
            storage_controller: StorageControllerConf::default(),
            pageservers: (0..num_pageservers).map(pageserver).collect(),
            safekeepers: (0..SAFEKEEPERS).map(safekeeper).collect(),
            control_plane_api: None,
            control_plane_compute_hook_api: None,
        }
    }

    /// Reads a description from a TOML file.
    pub fn load(path: &Utf8Path) -> Result<InitConf, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(ConfigError::io("read", path))?;
        toml::from_str(&text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }
}
