//! The repo's configuration: the file `config` and the pageserver directories beside it.

mod init_conf;
mod pageserver_conf;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use utils::{NodeId, TenantId, TimelineId};

pub use self::init_conf::InitConf;
pub(crate) use self::pageserver_conf::resolve;
pub use self::pageserver_conf::{AuthType, PageserverConf};

/// Environment variable with the repo directory.
pub const REPO_DIR_ENV: &str = "NEON_REPO_DIR";

/// The repo cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The environment names a relative directory.
    #[error("{REPO_DIR_ENV} must be an absolute path, got {0}")]
    RelativeRepoDir(Utf8PathBuf),
    /// There is no repo.
    #[error("Neon config is not found in {0}. You need to run 'neon_local init' first")]
    NoRepo(Utf8PathBuf),
    /// A file or directory cannot be read or written.
    #[error("could not {operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("invalid configuration {path}: {reason}")]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A pageserver directory and the configuration in it disagree.
    #[error("id mismatch: config_toml.id={in_file} id={in_name} (directory {dir})")]
    PageserverIdMismatch {
        /// The directory.
        dir: Utf8PathBuf,
        /// The id in `pageserver.toml`.
        in_file: u64,
        /// The id in the directory's name.
        in_name: u64,
    },
}

impl ConfigError {
    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Utf8Path,
    ) -> impl FnOnce(io::Error) -> ConfigError + 'a {
        move |source| ConfigError::Io { operation, path: path.to_owned(), source }
    }
}

/// Content of the file `config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepoConfig {
    /// Where PostgreSQL's versions are: the parent of `v15` or `15`.
    pub pg_distrib_dir: Utf8PathBuf,
    /// Where the daemons' binaries are.
    pub neon_distrib_dir: Utf8PathBuf,
    /// The tenant of commands that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_tenant_id: Option<TenantId>,
    /// The key that signs tokens; relative to the repo.
    pub private_key_path: Utf8PathBuf,
    /// Where pageservers find the storage controller; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_api: Option<String>,
    /// Whom the storage controller tells about moved tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_compute_hook_api: Option<String>,
    /// Whether everything is encrypted, with certificates that `init` has made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generate_local_ssl_certs: bool,
    /// The storage broker.
    pub broker: BrokerConf,
    /// The storage controller.
    pub storage_controller: StorageControllerConf,
    /// The safekeepers, in the order they are started in.
    pub safekeepers: Vec<SafekeeperConf>,
    /// What branches are called: name to tenants' timelines.
    pub branch_name_mappings: BTreeMap<String, Vec<(TenantId, TimelineId)>>,
}

impl Default for RepoConfig {
    fn default() -> Self {
        RepoConfig {
            pg_distrib_dir: Utf8PathBuf::new(),
            neon_distrib_dir: Utf8PathBuf::new(),
            default_tenant_id: None,
            private_key_path: "auth_private_key.pem".into(),
            control_plane_api: None,
            control_plane_compute_hook_api: None,
            generate_local_ssl_certs: false,
            broker: BrokerConf::default(),
            storage_controller: StorageControllerConf::default(),
            safekeepers: Vec::new(),
            branch_name_mappings: BTreeMap::new(),
        }
    }
}

/// The storage broker's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerConf {
    /// Socket address to listen on.
    pub listen_addr: std::net::SocketAddr,
}

impl Default for BrokerConf {
    fn default() -> Self {
        BrokerConf { listen_addr: std::net::SocketAddr::from(([0, 0, 0, 0], 0)) }
    }
}

/// The storage controller's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageControllerConf {
    /// How long a pageserver may be silent before it counts as lost.
    #[serde(with = "humantime_serde")]
    pub max_unavailable: Duration,
    /// Size in bytes from which tenants are split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_threshold: Option<u64>,
}

impl Default for StorageControllerConf {
    fn default() -> Self {
        StorageControllerConf { max_unavailable: Duration::from_secs(10), split_threshold: None }
    }
}

/// One safekeeper's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SafekeeperConf {
    /// Its node id.
    pub id: NodeId,
    /// Port of the WAL service.
    pub pg_port: u16,
    /// Port of the WAL service that accepts only tenants' tokens; computes use it if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_tenant_only_port: Option<u16>,
    /// Port of the HTTP service.
    pub http_port: u16,
    /// Port of the same over TLS, in a cluster that encrypts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_port: Option<u16>,
    /// Whether WAL is flushed to disk.
    pub sync: bool,
    /// Remote storage, as an inline TOML table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_storage: Option<String>,
    /// Number of segments uploaded at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_threads: Option<u32>,
    /// Whether tokens are checked.
    pub auth_enabled: bool,
    /// Address to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_addr: Option<String>,
}

impl Default for SafekeeperConf {
    fn default() -> Self {
        SafekeeperConf {
            id: NodeId(0),
            pg_port: 0,
            pg_tenant_only_port: None,
            http_port: 0,
            https_port: None,
            sync: true,
            remote_storage: None,
            backup_threads: None,
            auth_enabled: false,
            listen_addr: None,
        }
    }
}

impl SafekeeperConf {
    /// The port computes connect to.
    pub fn compute_port(&self) -> u16 {
        self.pg_tenant_only_port.unwrap_or(self.pg_port)
    }

    /// The address to listen on.
    pub fn host(&self) -> &str {
        self.listen_addr.as_deref().unwrap_or("127.0.0.1")
    }
}

/// A loaded repo.
#[derive(Debug, Clone)]
pub struct LocalEnv {
    /// The repo directory.
    pub repo_dir: Utf8PathBuf,
    /// Its configuration, which commands may change.
    pub config: RepoConfig,
    /// Its pageservers, by ascending id.
    pub pageservers: Vec<PageserverConf>,
    /// What the file says.
    saved: RepoConfig,
}

impl LocalEnv {
    /// The repo directory that the environment asks for: `NEON_REPO_DIR`, or `.neon` here.
    pub fn repo_dir_from_env() -> Result<Utf8PathBuf, ConfigError> {
        match std::env::var(REPO_DIR_ENV) {
            Ok(text) => {
                let dir = Utf8PathBuf::from(text);
                if dir.is_absolute() { Ok(dir) } else { Err(ConfigError::RelativeRepoDir(dir)) }
            }
            Err(_) => Ok(current_dir()?.join(".neon")),
        }
    }

    /// Loads the repo in `repo_dir`.
    pub fn load(repo_dir: &Utf8Path) -> Result<LocalEnv, ConfigError> {
        let path = repo_dir.join("config");
        if !path.exists() {
            return Err(ConfigError::NoRepo(repo_dir.to_owned()));
        }
        let text = fs::read_to_string(&path).map_err(ConfigError::io("read", &path))?;
        let config = RepoConfig::parse(&text, &path)?;
        let pageservers = pageserver_conf::discover(repo_dir)?;
        Ok(LocalEnv { repo_dir: repo_dir.to_owned(), saved: config.clone(), config, pageservers })
    }

    /// Writes the configuration if a command has changed it.
    pub fn save_if_changed(&mut self) -> Result<(), ConfigError> {
        if self.config != self.saved {
            self.config.write(&self.repo_dir)?;
            self.saved = self.config.clone();
        }
        Ok(())
    }

    /// Path of a daemon's binary.
    pub fn binary(&self, name: &str) -> Utf8PathBuf {
        self.config.neon_distrib_dir.join(name)
    }

    /// The key that signs tokens.
    pub fn private_key_path(&self) -> Utf8PathBuf {
        self.repo_dir.join(&self.config.private_key_path)
    }

    /// The key that verifies tokens.
    pub fn public_key_path(&self) -> Utf8PathBuf {
        self.repo_dir.join("auth_public_key.pem")
    }

    /// Directory of all endpoints.
    pub fn endpoints_dir(&self) -> Utf8PathBuf {
        self.repo_dir.join("endpoints")
    }

    /// The timeline that a tenant's branch name stands for.
    pub fn branch_timeline(&self, name: &str, tenant_id: TenantId) -> Option<TimelineId> {
        let timelines = self.config.branch_name_mappings.get(name)?;
        timelines.iter().find(|(tenant, _)| *tenant == tenant_id).map(|(_, timeline)| *timeline)
    }

    /// What a timeline is called.
    pub fn branch_name(&self, tenant_id: TenantId, timeline_id: TimelineId) -> Option<&str> {
        let mappings = self.config.branch_name_mappings.iter();
        mappings
            .filter(|(_, timelines)| timelines.contains(&(tenant_id, timeline_id)))
            .map(|(name, _)| name.as_str())
            .next()
    }

    /// Names a timeline. Repeating a mapping is fine, changing it is not.
    pub fn map_branch(
        &mut self,
        name: &str,
        tenant_id: TenantId,
        timeline_id: TimelineId,
    ) -> Result<(), BranchMappingError> {
        match self.branch_timeline(name, tenant_id) {
            Some(old) if old == timeline_id => Ok(()),
            Some(old) => Err(BranchMappingError { name: name.to_owned(), old, new: timeline_id }),
            None => {
                let mappings = &mut self.config.branch_name_mappings;
                mappings.entry(name.to_owned()).or_default().push((tenant_id, timeline_id));
                Ok(())
            }
        }
    }
}

/// A branch name is taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "branch '{name}' is already mapped to timeline {old}, cannot map to another timeline {new}"
)]
pub struct BranchMappingError {
    name: String,
    old: TimelineId,
    new: TimelineId,
}

impl RepoConfig {
    /// What clients of the broker connect to.
    pub fn broker_url(&self) -> String {
        let scheme = if self.generate_local_ssl_certs { "https" } else { "http" };
        format!("{scheme}://{}", self.broker.listen_addr)
    }

    fn parse(text: &str, path: &Utf8Path) -> Result<RepoConfig, ConfigError> {
        let invalid = |reason: String| ConfigError::Invalid { path: path.to_owned(), reason };
        let table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| invalid(e.to_string()))?;
        if table.contains_key("pageservers") {
            return Err(invalid(
                "key `pageservers` is not allowed: pageserver_<id>/pageserver.toml is \
                 authoritative for the configuration of a pageserver"
                    .to_owned(),
            ));
        }
        toml::from_str(text).map_err(|error| invalid(error.to_string()))
    }

    /// Writes the file `config` of a repo, replacing an old one safely.
    pub fn write(&self, repo_dir: &Utf8Path) -> Result<(), ConfigError> {
        let path = repo_dir.join("config");
        let text = toml::to_string(self).map_err(|error| ConfigError::Invalid {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        utils::fs_ext::write_crash_safe(path.as_std_path(), text.as_bytes())
            .map_err(|error| ConfigError::io("write", &path)(error.source))
    }
}

pub(crate) fn current_dir() -> Result<Utf8PathBuf, ConfigError> {
    let here = Utf8Path::new(".");
    let dir = std::env::current_dir().map_err(ConfigError::io("find directory", here))?;
    Utf8PathBuf::from_path_buf(dir).map_err(|dir| ConfigError::Invalid {
        path: dir.to_string_lossy().into_owned().into(),
        reason: "the name of the current directory is not UTF-8".to_owned(),
    })
}

#[cfg(test)]
mod tests;
