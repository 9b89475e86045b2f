//! What this tool needs to know of a `pageserver.toml`; all other keys are the pageserver's.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use utils::NodeId;

use super::ConfigError;

const DIRECTORY_PREFIX: &str = "pageserver_";
/// Ports of addresses that name none.
const DEFAULT_PG_PORT: u16 = 5432;
const DEFAULT_HTTP_PORT: u16 = 9898;

/// How a service checks who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AuthType {
    /// It does not.
    #[default]
    Trust,
    /// By token.
    NeonJWT,
}

/// The keys of `pageserver.toml` that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PageserverConf {
    /// Node id.
    pub id: NodeId,
    /// Address of the page service.
    pub listen_pg_addr: String,
    /// Address of the HTTP service.
    pub listen_http_addr: String,
    /// Who may use the page service.
    #[serde(default)]
    pub pg_auth_type: AuthType,
    /// Who may use the HTTP service.
    #[serde(default)]
    pub http_auth_type: AuthType,
    /// Whom it asks for its generations, if anybody.
    #[serde(default)]
    pub control_plane_api: Option<String>,
}

impl PageserverConf {
    /// Host and port of the page service.
    pub fn pg_host_port(&self) -> (&str, u16) {
        host_port(&self.listen_pg_addr, DEFAULT_PG_PORT)
    }

    /// Host and port of the HTTP service.
    pub fn http_host_port(&self) -> (&str, u16) {
        host_port(&self.listen_http_addr, DEFAULT_HTTP_PORT)
    }

    /// Where the HTTP service is.
    pub fn http_url(&self) -> String {
        let (host, port) = self.http_host_port();
        format!("http://{host}:{port}")
    }

    /// The directory it works in.
    pub fn directory(&self, repo_dir: &Utf8Path) -> Utf8PathBuf {
        directory_of(repo_dir, self.id)
    }
}

/// Directory of the pageserver with this id.
pub(crate) fn directory_of(repo_dir: &Utf8Path, id: NodeId) -> Utf8PathBuf {
    repo_dir.join(format!("{DIRECTORY_PREFIX}{id}"))
}

fn host_port(address: &str, default_port: u16) -> (&str, u16) {
    match address.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => (address, default_port),
        },
        None => (address, default_port),
    }
}

/// Resolves `host:port`, or the port at 127.0.0.1 when the host is unknown.
pub(crate) fn resolve(host: &str, port: u16) -> SocketAddr {
    let resolved = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    resolved.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Finds the pageservers of a repo by their directories.
pub(super) fn discover(repo_dir: &Utf8Path) -> Result<Vec<PageserverConf>, ConfigError> {
    let mut found = Vec::new();
    for entry in repo_dir.read_dir_utf8().map_err(ConfigError::io("list", repo_dir))? {
        let entry = entry.map_err(ConfigError::io("list", repo_dir))?;
        if let Some(suffix) = entry.file_name().strip_prefix(DIRECTORY_PREFIX) {
            found.push(load(entry.path(), suffix)?);
        }
    }
    found.sort_by_key(|pageserver| pageserver.id);
    Ok(found)
}

fn load(dir: &Utf8Path, suffix: &str) -> Result<PageserverConf, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid { path: dir.to_owned(), reason };
    let in_name: u64 =
        suffix.parse().map_err(|_| invalid("name does not end in a node id".to_owned()))?;
    if !dir.is_dir() {
        return Err(invalid("it is not a directory".to_owned()));
    }
    let path = dir.join("pageserver.toml");
    let text = fs::read_to_string(&path).map_err(ConfigError::io("read", &path))?;
    let conf: PageserverConf = toml::from_str(&text)
        .map_err(|error| ConfigError::Invalid { path, reason: error.to_string() })?;
    let NodeId(in_file) = conf.id;
    if in_file != in_name {
        return Err(ConfigError::PageserverIdMismatch { dir: dir.to_owned(), in_file, in_name });
    }
    Ok(conf)
}
