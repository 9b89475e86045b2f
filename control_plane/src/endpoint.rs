//! Endpoints: local computes, each with a directory below `endpoints/`.
//!
//! The directory holds what the endpoint is (`endpoint.json`), its settings
//! (`postgresql.conf`), what it was last started with (`spec.json`) and its log. The data
//! directory in it is made by compute_ctl at each start and thrown away.

mod postgres_conf;
mod reconfigure;
mod spec;
mod start;
mod status;
mod stop;

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use postgres_ffi::PgMajor;
use serde::{Deserialize, Serialize};
use utils::{Lsn, NodeId, TenantId, TimelineId};

pub use self::postgres_conf::PrimaryConnection;
pub use self::spec::ComputeTarget;
pub use self::start::StartOptions;
pub use self::status::EndpointStatus;
pub use self::stop::PgStopMode;

use crate::config::LocalEnv;
use crate::distrib::PostgresNotFound;
use crate::ports::PortTaken;
use crate::process::ProcessError;

/// Below the first port of the first endpoint.
const PORTS_BASE: u16 = 55431;

/// An endpoint operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// There is none of this name.
    #[error("{0}")]
    NotFound(String),
    /// There is one of this name.
    #[error("endpoint {0} exists already: choose another name, or delete it first")]
    Exists(String),
    /// The name cannot be one of a directory.
    #[error("invalid endpoint name {0:?}: use letters, digits, '-', '_' and '.'")]
    InvalidName(String),
    /// Another primary of the timeline is not stopped.
    #[error(
        "attempting to create a duplicate primary endpoint on tenant {tenant_id}, timeline \
         {timeline_id}: endpoint {other:?} exists already. please don't do this, it is not \
         supported."
    )]
    DuplicatePrimary {
        /// The timeline's tenant.
        tenant_id: TenantId,
        /// The timeline.
        timeline_id: TimelineId,
        /// The endpoint that has it.
        other: String,
    },
    /// It runs.
    #[error("The endpoint is already running")]
    AlreadyRunning,
    /// It runs, and has to be stopped for this.
    #[error("endpoint {0} is running: stop it first")]
    StillRunning(String),
    /// A safekeeper of the list does not exist.
    #[error("safekeeper {0} does not exist")]
    NoSafekeeper(NodeId),
    /// Commits would have nowhere to go.
    #[error("endpoint {0} needs at least one safekeeper: there is none in the config file")]
    NoSafekeepers(String),
    /// A file cannot be read or written.
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
    /// A file holds nonsense.
    #[error("invalid {path}: {reason}")]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// PostgreSQL is not installed.
    #[error(transparent)]
    Postgres(#[from] PostgresNotFound),
    /// A port is in use.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// There is no room above the ports in use.
    #[error("no port above {PORTS_BASE} is left: choose with --pg-port and --http-port")]
    NoPortsLeft,
    /// A process did not do what it should.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A token could not be signed.
    #[error(transparent)]
    Auth(#[from] utils::auth::AuthError),
    /// The compute reports a failure, or does not answer.
    #[error("{message}; see {log}{tail}")]
    Compute {
        /// What happened.
        message: String,
        /// The log file.
        log: Utf8PathBuf,
        /// The end of what it has logged.
        tail: String,
    },
    /// `pg_ctl` failed.
    #[error("pg_ctl failed, exit code: {status}, stdout: {stdout}, stderr: {stderr}")]
    PgCtl {
        /// How it ended.
        status: String,
        /// What it said.
        stdout: String,
        /// What it complained of.
        stderr: String,
    },
    /// HTTP to compute_ctl failed.
    #[error("could not talk to compute_ctl at {url}: {source}")]
    Http {
        /// What was asked.
        url: String,
        /// Why it failed.
        #[source]
        source: reqwest::Error,
    },
    /// compute_ctl refused a new configuration.
    #[error("compute_ctl refused the configuration: {0}")]
    ConfigureRefused(String),
}

impl EndpointError {
    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Utf8Path,
    ) -> impl FnOnce(io::Error) -> EndpointError + 'a {
        move |source| EndpointError::Io { operation, path: path.to_owned(), source }
    }
}

/// What an endpoint runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComputeMode {
    /// Reads and writes at the timeline's end.
    Primary,
    /// Reads at one position.
    Static(Lsn),
    /// Follows a primary.
    Replica,
}

/// Content of `endpoint.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConf {
    /// Its name.
    pub endpoint_id: String,
    /// Whose data.
    pub tenant_id: TenantId,
    /// Which branch.
    pub timeline_id: TimelineId,
    /// In which way.
    pub mode: ComputeMode,
    /// PostgreSQL's port.
    pub pg_port: u16,
    /// compute_ctl's port.
    pub http_port: u16,
    /// Which PostgreSQL.
    pub pg_version: PgMajor,
    /// Leave roles and databases alone.
    pub skip_pg_catalog_updates: bool,
    /// Words that switch features of the compute.
    #[serde(default)]
    pub features: Vec<String>,
}

/// An endpoint of a repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub conf: EndpointConf,
    /// Its directory.
    pub dir: Utf8PathBuf,
}

/// What a new endpoint is made from. Ports that are not given are chosen.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Its name.
    pub endpoint_id: String,
    /// Whose data.
    pub tenant_id: TenantId,
    /// Which branch.
    pub timeline_id: TimelineId,
    /// In which way.
    pub mode: ComputeMode,
    /// PostgreSQL's port.
    pub pg_port: Option<u16>,
    /// compute_ctl's port.
    pub http_port: Option<u16>,
    /// Which PostgreSQL.
    pub pg_version: PgMajor,
    /// Leave roles and databases alone.
    pub skip_pg_catalog_updates: bool,
}

impl Endpoint {
    /// Finds an endpoint by its name.
    pub fn find(env: &LocalEnv, endpoint_id: &str) -> Result<Option<Endpoint>, EndpointError> {
        Ok(Self::list(env)?.into_iter().find(|known| known.conf.endpoint_id == endpoint_id))
    }

    /// All endpoints, by name.
    pub fn list(env: &LocalEnv) -> Result<Vec<Endpoint>, EndpointError> {
        let parent = env.endpoints_dir();
        if !parent.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in parent.read_dir_utf8().map_err(EndpointError::io("list", &parent))? {
            let entry = entry.map_err(EndpointError::io("list", &parent))?;
            found.push(Self::load(entry.path())?);
        }
        found.sort_by(|one, two| one.conf.endpoint_id.cmp(&two.conf.endpoint_id));
        Ok(found)
    }

    fn load(dir: &Utf8Path) -> Result<Endpoint, EndpointError> {
        let path = dir.join("endpoint.json");
        let bytes = fs::read(&path).map_err(EndpointError::io("read", &path))?;
        let conf = serde_json::from_slice(&bytes)
            .map_err(|error| EndpointError::Invalid { path, reason: error.to_string() })?;
        Ok(Endpoint { conf, dir: dir.to_owned() })
    }

    /// Makes an endpoint. Starts nothing.
    pub fn create(
        env: &LocalEnv,
        new: NewEndpoint,
        allow_multiple: bool,
    ) -> Result<Endpoint, EndpointError> {
        let existing = Self::list(env)?;
        check_name(&new.endpoint_id)?;
        if existing.iter().any(|known| known.conf.endpoint_id == new.endpoint_id) {
            return Err(EndpointError::Exists(new.endpoint_id));
        }
        let (pg_port, http_port) = choose_ports(&existing, new.pg_port, new.http_port)?;
        let conf = EndpointConf {
            endpoint_id: new.endpoint_id,
            tenant_id: new.tenant_id,
            timeline_id: new.timeline_id,
            mode: new.mode,
            pg_port,
            http_port,
            pg_version: new.pg_version,
            skip_pg_catalog_updates: new.skip_pg_catalog_updates,
            features: Vec::new(),
        };
        let endpoint = Endpoint { dir: env.endpoints_dir().join(&conf.endpoint_id), conf };
        if !allow_multiple {
            endpoint.refuse_duplicate_primary(&existing)?;
        }
        for wanted in endpoint.default_ports(new.pg_port, new.http_port) {
            crate::ports::check(wanted)?;
        }
        endpoint.write_files(env)?;
        Ok(endpoint)
    }

    fn write_files(&self, env: &LocalEnv) -> Result<(), EndpointError> {
        fs::create_dir_all(&self.dir).map_err(EndpointError::io("create directory", &self.dir))?;
        let json = serde_json::to_vec_pretty(&self.conf).map_err(|error| {
            EndpointError::Invalid { path: self.dir.clone(), reason: error.to_string() }
        })?;
        self.write("endpoint.json", &json)?;
        let connections = PrimaryConnection::of_safekeepers(&env.config.safekeepers);
        let settings = postgres_conf::settings(&self.conf, &connections, &env.client_tls());
        self.write("postgresql.conf", postgres_conf::render(&settings).as_bytes())
    }

    /// Removes an endpoint that does not run, with everything it has.
    pub fn delete(&self) -> Result<(), EndpointError> {
        if self.status() != EndpointStatus::Stopped || self.compute_ctl_pid().is_some() {
            return Err(EndpointError::StillRunning(self.conf.endpoint_id.clone()));
        }
        fs::remove_dir_all(&self.dir).map_err(EndpointError::io("remove", &self.dir))
    }

    /// Fails when another primary of the same timeline is not stopped.
    pub fn refuse_duplicate_primary(&self, all: &[Endpoint]) -> Result<(), EndpointError> {
        if self.conf.mode != ComputeMode::Primary {
            return Ok(());
        }
        let is_duplicate = |other: &&Endpoint| {
            other.conf.endpoint_id != self.conf.endpoint_id
                && other.conf.mode == ComputeMode::Primary
                && other.conf.tenant_id == self.conf.tenant_id
                && other.conf.timeline_id == self.conf.timeline_id
                && other.status() != EndpointStatus::Stopped
        };
        match all.iter().find(is_duplicate) {
            None => Ok(()),
            Some(other) => Err(EndpointError::DuplicatePrimary {
                tenant_id: self.conf.tenant_id,
                timeline_id: self.conf.timeline_id,
                other: other.conf.endpoint_id.clone(),
            }),
        }
    }

    /// Where clients connect, as a user of that role to that database.
    pub fn connstr(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.conf.pg_port)
    }

    /// The data directory.
    pub fn pgdata(&self) -> Utf8PathBuf {
        self.dir.join("pgdata")
    }

    /// The log of compute_ctl and PostgreSQL.
    pub fn log_path(&self) -> Utf8PathBuf {
        self.dir.join("compute.log")
    }

    /// Where compute_ctl answers.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.conf.http_port)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), EndpointError> {
        let path = self.dir.join(name);
        fs::write(&path, bytes).map_err(EndpointError::io("write", &path))
    }

    pub(crate) fn read_text(&self, name: &str) -> Result<String, EndpointError> {
        let path = self.dir.join(name);
        fs::read_to_string(&path).map_err(EndpointError::io("read", &path))
    }
}

fn check_name(name: &str) -> Result<(), EndpointError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(valid) {
        return Err(EndpointError::InvalidName(name.to_owned()));
    }
    Ok(())
}

/// The two ports after the highest that any endpoint has, where none are given.
fn choose_ports(
    existing: &[Endpoint],
    pg_port: Option<u16>,
    http_port: Option<u16>,
) -> Result<(u16, u16), EndpointError> {
    let used = existing.iter().flat_map(|known| [known.conf.pg_port, known.conf.http_port]);
    let highest = used.chain([PORTS_BASE]).max().unwrap_or(PORTS_BASE);
    let next = |after: u16| highest.checked_add(after).ok_or(EndpointError::NoPortsLeft);
    Ok((pg_port.map_or_else(|| next(1), Ok)?, http_port.map_or_else(|| next(2), Ok)?))
}

#[cfg(test)]
mod tests;
