//! The spec: one JSON document that says which timeline to run, where the storage is, and which
//! settings the user wants. Written by the launcher, re-sent through `/configure`.
//!
//! Everything has a default except tenant, timeline and addresses; unknown members are ignored,
//! because launchers of other versions send more than this one understands.

use std::collections::BTreeMap;

use postgres_client::{ConnectOptions, ParseConnectOptionsError};
use serde::{Deserialize, Serialize};
use utils::{Lsn, TenantId, TenantTimelineId, TimelineId};

/// More safekeepers than this make no sense and are refused.
const MAX_SAFEKEEPERS: usize = 31;

/// What kind of endpoint this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComputeMode {
    /// The one writer of the timeline.
    #[default]
    Primary,
    /// Read-only at one LSN.
    Static(Lsn),
    /// Read-only, following the primary.
    Replica,
}

/// A setting of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Parameter name.
    pub name: String,
    /// Value; absent means an empty one.
    #[serde(default)]
    pub value: Option<String>,
    /// `bool`, `integer`, `string`, `enum`, ...; decides about quoting elsewhere, kept here.
    #[serde(default)]
    pub vartype: String,
}

/// A role to create before the endpoint counts as running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Password, plain or in one of PostgreSQL's encrypted forms.
    #[serde(default)]
    pub encrypted_password: Option<String>,
}

/// A database to create before the endpoint counts as running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
}

/// The part of the spec that describes the cluster as its user sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Identifier of the launcher, for logs.
    pub cluster_id: Option<String>,
    /// Name of the launcher, for logs.
    pub name: Option<String>,
    /// Roles to create.
    pub roles: Vec<Role>,
    /// Databases to create.
    pub databases: Vec<Database>,
    /// Text of the user's postgresql.conf.
    pub postgresql_conf: Option<String>,
    /// Settings that come after that text.
    pub settings: Option<Vec<Setting>>,
}

/// The spec as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComputeSpec {
    /// 1.0.
    pub format_version: f32,
    /// Identifier of the operation that made this spec, for logs.
    pub operation_uuid: Option<String>,
    /// The user's cluster.
    pub cluster: Cluster,
    /// Leave roles and databases alone.
    pub skip_pg_catalog_updates: bool,
    /// Owner of the timeline.
    pub tenant_id: Option<TenantId>,
    /// The timeline.
    pub timeline_id: Option<TimelineId>,
    /// Page services of the shards, separated by commas, shard zero first.
    pub pageserver_connstring: Option<String>,
    /// WAL services, `host:port` each.
    pub safekeeper_connstrings: Vec<String>,
    /// Kind of endpoint.
    pub mode: ComputeMode,
    /// Token for page and WAL services.
    pub storage_auth_token: Option<String>,
    /// Members this version has no use for, kept so that they survive a round trip.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Why a spec cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON, or a member of the wrong type.
    #[error("the spec is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// A member without a default is missing.
    #[error("the spec lacks {0}, which has no default")]
    Missing(&'static str),
    /// An address cannot be understood.
    #[error("the spec's {member} is wrong: {source}")]
    Address {
        /// Where it stands.
        member: &'static str,
        /// What is wrong with it.
        source: ParseConnectOptionsError,
    },
    /// Too many safekeepers.
    #[error("the spec names {0} safekeepers, at most {MAX_SAFEKEEPERS} are possible")]
    TooManySafekeepers(usize),
    /// The same safekeeper twice would count twice in a quorum.
    #[error("the spec names safekeeper {0} twice")]
    DuplicateSafekeeper(String),
}

/// A checked spec, in the form the rest of the program wants.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which timeline.
    pub ttid: TenantTimelineId,
    /// Kind of endpoint.
    pub mode: ComputeMode,
    /// Page service of shard zero, token included.
    pub pageserver: ConnectOptions,
    /// WAL services, ids and token included.
    pub safekeepers: Vec<ConnectOptions>,
    /// Token for page and WAL services.
    pub storage_auth_token: Option<String>,
    /// The user's cluster.
    pub cluster: Cluster,
    /// Leave roles and databases alone.
    pub skip_pg_catalog_updates: bool,
}

impl ComputeSpec {
    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Checks the spec. `env_token` is used where the spec has no token of its own.
    pub fn check(&self, env_token: Option<String>) -> Result<Endpoint, SpecError> {
        let tenant_id = self.tenant_id.ok_or(SpecError::Missing("tenant_id"))?;
        let timeline_id = self.timeline_id.ok_or(SpecError::Missing("timeline_id"))?;
        let ttid = TenantTimelineId::new(tenant_id, timeline_id);
        let token = self.storage_auth_token.clone().or(env_token);
        let pageserver = self.pageserver(token.as_deref())?;
        let safekeepers = self.safekeepers(ttid, token.as_deref())?;
        let needs_safekeepers = !matches!(self.mode, ComputeMode::Static(_));
        if needs_safekeepers && safekeepers.is_empty() {
            return Err(SpecError::Missing("safekeeper_connstrings"));
        }
        Ok(Endpoint {
            ttid,
            mode: self.mode,
            pageserver,
            safekeepers,
            storage_auth_token: token,
            cluster: self.cluster.clone(),
            skip_pg_catalog_updates: self.skip_pg_catalog_updates,
        })
    }

    fn pageserver(&self, token: Option<&str>) -> Result<ConnectOptions, SpecError> {
        const MEMBER: &str = "pageserver_connstring";
        let all = self.pageserver_connstring.as_deref().ok_or(SpecError::Missing(MEMBER))?;
        let shard_zero = all.split(',').next().unwrap_or_default().trim();
        if shard_zero.is_empty() {
            return Err(SpecError::Missing(MEMBER));
        }
        let mut options = ConnectOptions::parse(shard_zero)
            .map_err(|source| SpecError::Address { member: MEMBER, source })?;
        options.password = token.map(str::to_owned).or(options.password);
        options.application_name = Some("compute_ctl".to_owned());
        Ok(options)
    }

    fn safekeepers(
        &self,
        ttid: TenantTimelineId,
        token: Option<&str>,
    ) -> Result<Vec<ConnectOptions>, SpecError> {
        const MEMBER: &str = "safekeeper_connstrings";
        let replica = self.mode == ComputeMode::Replica && self.safekeeper_connstrings.is_empty();
        let addresses = if replica {
            self.safekeepers_of_primary_conninfo()
        } else {
            self.safekeeper_connstrings.clone()
        };
        if addresses.len() > MAX_SAFEKEEPERS {
            return Err(SpecError::TooManySafekeepers(addresses.len()));
        }
        let mut safekeepers: Vec<ConnectOptions> = Vec::new();
        for address in &addresses {
            let mut options = ConnectOptions::parse(address)
                .map_err(|source| SpecError::Address { member: MEMBER, source })?;
            if safekeepers.iter().any(|other| other.address() == options.address()) {
                return Err(SpecError::DuplicateSafekeeper(options.address()));
            }
            options.options = safekeeper_options(ttid);
            options.password = token.map(str::to_owned).or(options.password);
            safekeepers.push(options);
        }
        Ok(safekeepers)
    }

    /// Launchers give replicas no safekeeper list of their own, only the connection string for
    /// the standby's WAL receiver inside the settings.
    fn safekeepers_of_primary_conninfo(&self) -> Vec<String> {
        let text = self.cluster.postgresql_conf.as_deref().unwrap_or_default();
        let lines = crate::config::parse_conf(text).unwrap_or_default();
        let conninfo = lines.iter().rev().find(|setting| setting.name == "primary_conninfo");
        conninfo.map(|setting| hosts_of_conninfo(&setting.value)).unwrap_or_default()
    }
}

/// The startup options a safekeeper finds the timeline by.
pub fn safekeeper_options(ttid: TenantTimelineId) -> Vec<String> {
    vec![
        "-c".to_owned(),
        format!("timeline_id={}", ttid.timeline_id),
        format!("tenant_id={}", ttid.tenant_id),
    ]
}

/// The addresses in a libpq keyword/value string whose values have no blanks, with what it says
/// of encryption.
fn hosts_of_conninfo(conninfo: &str) -> Vec<String> {
    let words = |key: &str| conninfo.split_whitespace().find_map(|word| word.strip_prefix(key));
    let value =
        |key: &str| words(key).map(|list| list.split(',').collect::<Vec<_>>()).unwrap_or_default();
    let (hosts, ports) = (value("host="), value("port="));
    let encryption: Vec<String> = ["sslmode=", "sslrootcert="]
        .into_iter()
        .filter_map(|key| Some(format!("{key}{}", words(key)?)))
        .collect();
    let port_of = |index: usize| ports.get(index).or(ports.last()).copied().unwrap_or("5432");
    let pairs = hosts.iter().enumerate();
    let addresses = pairs.map(|(index, host)| format!("{host}:{}", port_of(index)));
    match encryption.is_empty() {
        true => addresses.collect(),
        false => {
            let parameters = encryption.join("&");
            addresses.map(|address| format!("postgresql://{address}?{parameters}")).collect()
        }
    }
}

#[cfg(test)]
mod tests;
