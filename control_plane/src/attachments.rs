//! Who serves which tenant, in which generation: the file `attachments.json`.
//!
//! As long as there is no storage controller, this tool is the authority over attachments.
//! A generation is written down before it is used, so none is ever given out twice. The
//! file's form is the storage controller's state file, which can take over from it.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::client::{Client, ClientError};
use pageserver_api::models::{LocationConfig, TenantConfigOverrides};
use pageserver_api::shard::TenantShardId;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use utils::{NodeId, TenantId};

use crate::config::{LocalEnv, PageserverConf};
use crate::pageserver::{self, ClientSetupError, retry_while_busy};

const FILE_NAME: &str = "attachments.json";
const DEFAULT_STRIPE_SIZE: u32 = 32768;

/// Attachments could not be looked up or changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The file cannot be read or written.
    #[error("could not {operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("invalid {path}: {source}")]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The tenant is known already.
    #[error("tenant {0} exists already")]
    Exists(TenantId),
    /// The tenant is not known.
    #[error("tenant {0} is not known here: create it with 'neon_local tenant create'")]
    Unknown(TenantId),
    /// There is nowhere to attach to.
    #[error("there is no pageserver to attach a tenant to")]
    NoPageservers,
    /// The pageserver does not answer.
    #[error(
        "pageserver {node} does not answer: start it with 'neon_local pageserver start --id \
         {node}', or see {log}"
    )]
    PageserverDown {
        /// Which.
        node: NodeId,
        /// What went wrong.
        #[source]
        source: ClientError,
        /// Where to look.
        log: Utf8PathBuf,
    },
    /// The pageserver refuses.
    #[error("pageserver {node}: {source} (its log: {log})")]
    Pageserver {
        /// Which.
        node: NodeId,
        /// What went wrong.
        #[source]
        source: ClientError,
        /// Where to look.
        log: Utf8PathBuf,
    },
    /// No client for it.
    #[error(transparent)]
    Client(#[from] ClientSetupError),
}

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct StateFile {
    /// By shard id.
    tenants: BTreeMap<String, Row>,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    tenant_id: TenantId,
    #[serde(default)]
    shard_number: u8,
    #[serde(default)]
    shard_count: u8,
    #[serde(default)]
    shard_stripe_size: u32,
    /// The latest generation given out.
    #[serde(default)]
    generation: Option<u32>,
    /// Whom it was given to.
    #[serde(default)]
    pageserver: Option<NodeId>,
    /// JSON in a string.
    #[serde(default)]
    placement_policy: String,
    #[serde(default)]
    splitting: SplitState,
    /// The tenant's options: JSON in a string.
    #[serde(default)]
    config: String,
    /// JSON in a string.
    #[serde(default)]
    scheduling_policy: String,
}

/// Whether a shard is being split. Only the storage controller splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum SplitState {
    #[default]
    Idle,
    Splitting,
}

/// The attachments of a repo.
#[derive(Debug)]
pub struct Attachments {
    path: Utf8PathBuf,
    state: StateFile,
}

impl Attachments {
    /// Loads what is known in a repo.
    pub fn load(repo_dir: &Utf8Path) -> Result<Attachments, AttachmentError> {
        let path = repo_dir.join(FILE_NAME);
        let state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| AttachmentError::Invalid { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => StateFile::default(),
            Err(source) => {
                return Err(AttachmentError::Io { operation: "read", path, source });
            }
        };
        Ok(Attachments { path, state })
    }

    /// The pageserver that a tenant was given to.
    pub fn node_of(&self, tenant_id: TenantId) -> Result<NodeId, AttachmentError> {
        let row = self.state.tenants.get(&tenant_id.to_string());
        row.and_then(|row| row.pageserver).ok_or(AttachmentError::Unknown(tenant_id))
    }

    /// Tenants of a pageserver.
    pub fn tenants_of(&self, node: NodeId) -> Vec<TenantId> {
        let rows = self.state.tenants.values().filter(|row| row.pageserver == Some(node));
        rows.map(|row| row.tenant_id).collect()
    }

    /// Writes down a new tenant with its first generation, on the pageserver that has the
    /// fewest.
    fn add(
        &mut self,
        tenant_id: TenantId,
        options: &TenantConfigOverrides,
        nodes: &[NodeId],
    ) -> Result<NodeId, AttachmentError> {
        if self.state.tenants.contains_key(&tenant_id.to_string()) {
            return Err(AttachmentError::Exists(tenant_id));
        }
        let node = *nodes
            .iter()
            .min_by_key(|node| (self.tenants_of(**node).len(), **node))
            .ok_or(AttachmentError::NoPageservers)?;
        let row = Row {
            tenant_id,
            shard_number: 0,
            shard_count: 0,
            shard_stripe_size: DEFAULT_STRIPE_SIZE,
            generation: Some(1),
            pageserver: Some(node),
            placement_policy: r#"{"Attached":0}"#.to_owned(),
            splitting: SplitState::Idle,
            config: json_text(options),
            scheduling_policy: r#""Active""#.to_owned(),
        };
        self.state.tenants.insert(tenant_id.to_string(), row);
        self.save()?;
        Ok(node)
    }

    fn remove(&mut self, tenant_id: TenantId) -> Result<(), AttachmentError> {
        self.state.tenants.remove(&tenant_id.to_string());
        self.save()
    }

    fn set_options(
        &mut self,
        tenant_id: TenantId,
        options: &TenantConfigOverrides,
    ) -> Result<(), AttachmentError> {
        self.row_mut(tenant_id)?.config = json_text(options);
        self.save()
    }

    fn raise_generation(&mut self, tenant_id: TenantId) -> Result<(), AttachmentError> {
        let row = self.row_mut(tenant_id)?;
        row.generation = Some(row.generation.map_or(1, |generation| generation + 1));
        self.save()
    }

    /// What a pageserver is told about a tenant.
    fn location(&self, tenant_id: TenantId) -> Result<LocationConfig, AttachmentError> {
        let row = self.state.tenants.get(&tenant_id.to_string());
        let row = row.ok_or(AttachmentError::Unknown(tenant_id))?;
        let options = match row.config.as_str() {
            "" => TenantConfigOverrides::default(),
            text => serde_json::from_str(text)
                .map_err(|source| AttachmentError::Invalid { path: self.path.clone(), source })?,
        };
        Ok(LocationConfig::attached_single(row.generation.unwrap_or(1), options))
    }

    fn row_mut(&mut self, tenant_id: TenantId) -> Result<&mut Row, AttachmentError> {
        let row = self.state.tenants.get_mut(&tenant_id.to_string());
        row.ok_or(AttachmentError::Unknown(tenant_id))
    }

    fn save(&self) -> Result<(), AttachmentError> {
        let path = &self.path;
        let bytes = serde_json::to_vec_pretty(&self.state)
            .map_err(|source| AttachmentError::Invalid { path: path.clone(), source })?;
        utils::fs_ext::write_crash_safe(path.as_std_path(), &bytes).map_err(|error| {
            AttachmentError::Io { operation: "write", path: path.clone(), source: error.source }
        })
    }
}

fn json_text(options: &TenantConfigOverrides) -> String {
    serde_json::json!(options).to_string()
}

/// The pageserver that serves a tenant.
pub fn pageserver_of(
    env: &LocalEnv,
    tenant_id: TenantId,
) -> Result<&PageserverConf, AttachmentError> {
    let node = Attachments::load(&env.repo_dir)?.node_of(tenant_id)?;
    let mut pageservers = env.pageservers.iter();
    pageservers.find(|conf| conf.id == node).ok_or(AttachmentError::Unknown(tenant_id))
}

/// Creates a tenant and attaches it. Returns the pageserver that has it.
pub async fn create_tenant<'a>(
    env: &'a LocalEnv,
    tenant_id: TenantId,
    options: &TenantConfigOverrides,
) -> Result<&'a PageserverConf, AttachmentError> {
    let mut attachments = Attachments::load(&env.repo_dir)?;
    let nodes: Vec<NodeId> = env.pageservers.iter().map(|conf| conf.id).collect();
    attachments.add(tenant_id, options, &nodes)?;
    let conf = pageserver_of(env, tenant_id)?;
    let client = pageserver::client(env, conf)?;
    if let Err(error) = attach(env, conf, &client, &attachments, tenant_id).await {
        // Nothing has been written in the generation, so the tenant may be tried again.
        attachments.remove(tenant_id)?;
        return Err(error);
    }
    Ok(conf)
}

/// Replaces a tenant's options.
pub async fn configure_tenant(
    env: &LocalEnv,
    tenant_id: TenantId,
    options: &TenantConfigOverrides,
) -> Result<(), AttachmentError> {
    let mut attachments = Attachments::load(&env.repo_dir)?;
    let conf = pageserver_of(env, tenant_id)?;
    pageserver::client(env, conf)?
        .set_tenant_config(tenant_id, options)
        .await
        .map_err(|source| pageserver_error(env, conf, source))?;
    attachments.set_options(tenant_id, options)
}

/// Gives a started pageserver those of its tenants that it does not have, each in a new
/// generation. Returns how many that were.
pub async fn reattach(env: &LocalEnv, conf: &PageserverConf) -> Result<usize, AttachmentError> {
    let mut attachments = Attachments::load(&env.repo_dir)?;
    let tenants = attachments.tenants_of(conf.id);
    if tenants.is_empty() {
        return Ok(0);
    }
    let client = pageserver::client(env, conf)?;
    let mut attached = 0;
    for tenant_id in tenants {
        let shard = TenantShardId::unsharded(tenant_id);
        match retry_while_busy(async || client.location(shard).await).await {
            Ok(_) => {}
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
                attachments.raise_generation(tenant_id)?;
                attach(env, conf, &client, &attachments, tenant_id).await?;
                attached += 1;
            }
            Err(source) => return Err(pageserver_error(env, conf, source)),
        }
    }
    Ok(attached)
}

async fn attach(
    env: &LocalEnv,
    conf: &PageserverConf,
    client: &Client,
    attachments: &Attachments,
    tenant_id: TenantId,
) -> Result<(), AttachmentError> {
    let location = attachments.location(tenant_id)?;
    let shard = TenantShardId::unsharded(tenant_id);
    retry_while_busy(async || client.set_location(shard, &location).await)
        .await
        .map_err(|source| pageserver_error(env, conf, source))?;
    Ok(())
}

/// Adds to a client's error which pageserver it is about and where its log is.
pub fn pageserver_error(
    env: &LocalEnv,
    conf: &PageserverConf,
    source: ClientError,
) -> AttachmentError {
    let log = conf.directory(&env.repo_dir).join("pageserver.log");
    match source {
        ClientError::Transport { .. } => {
            AttachmentError::PageserverDown { node: conf.id, source, log }
        }
        ClientError::Refused { .. } => AttachmentError::Pageserver { node: conf.id, source, log },
    }
}

#[cfg(test)]
mod tests;
