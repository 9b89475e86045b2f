//! Settles at start which locations this node has: what is on disk, corrected by the control plane.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use camino::Utf8PathBuf;
use futures::StreamExt;
use pageserver_api::shard::TenantShardId;
use serde_json::{Value, json};
use utils::Generation;

use super::reattach::{Verdict, decide};
use super::{Authority, NoAnswer, UpcallClient};
use crate::config::location::{self, LocationFileError};
use crate::config::{LocationConf, LocationMode, PageServerConf};
use crate::tenant::directory::{self, FoundLocation};

/// Location files written at once.
const WRITE_CONCURRENCY: usize = 16;
/// How others reach this node; written by whoever deploys it.
const METADATA_FILE_NAME: &str = "metadata.json";

/// The control plane, if there is one.
#[derive(Clone, Default)]
pub struct ControlPlane {
    client: Option<Arc<UpcallClient>>,
    emergency_mode: bool,
}

/// The locations to start with.
#[derive(Default)]
pub struct Settled {
    /// By shard; those whose file cannot be read are left as they are.
    pub locations: BTreeMap<TenantShardId, FoundLocation>,
    /// Directories that were renamed away and can be removed at leisure.
    pub removed: Vec<Utf8PathBuf>,
}

impl Settled {
    /// The generations in which shards are attached here.
    pub fn generations(&self) -> HashMap<TenantShardId, Generation> {
        let generation = |location: &FoundLocation| match location.as_ref().ok()?.mode {
            LocationMode::Attached { generation, .. } => Some(generation),
            LocationMode::Secondary { .. } => None,
        };
        self.locations
            .iter()
            .filter_map(|(shard, location)| Some((*shard, generation(location)?)))
            .collect()
    }
}

impl ControlPlane {
    /// As configured.
    pub fn new(client: Option<UpcallClient>, emergency_mode: bool) -> ControlPlane {
        ControlPlane { client: client.map(Arc::new), emergency_mode }
    }

    /// Whom to ask whether generations are current.
    pub fn authority(&self) -> Option<Arc<dyn Authority>> {
        self.client.clone().map(|client| client as Arc<dyn Authority>)
    }

    /// Asks the control plane and persists what follows. Generations are on disk before they are
    /// used: a crash must not lead back to older ones.
    pub async fn settle(
        &self,
        conf: &'static PageServerConf,
        found: BTreeMap<TenantShardId, FoundLocation>,
    ) -> Result<Settled, NoAnswer> {
        let Some(client) = &self.client else {
            return Ok(Settled { locations: found, removed: Vec::new() });
        };
        if self.emergency_mode {
            tracing::error!(
                "Emergency mode!  Tenants will be attached unsafely using their last known \
                 generation"
            );
            return Ok(Settled { locations: found, removed: Vec::new() });
        }
        let answer = client.re_attach(registration(conf).await).await?;
        let answers: HashMap<TenantShardId, _> =
            answer.tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect();
        tracing::info!("the control plane names {} tenants of this node", answers.len());
        let mut settled = Settled::default();
        let mut changed = Vec::new();
        for (shard, location) in found {
            let local = match location {
                Ok(local) => local,
                Err(failure) => {
                    settled.locations.insert(shard, Err(failure));
                    continue;
                }
            };
            let stored = local.mode;
            match decide(&shard, local, answers.get(&shard)) {
                Verdict::Keep(location) => {
                    if location.mode != stored {
                        changed.push((shard, (*location).clone()));
                    }
                    settled.locations.insert(shard, Ok(*location));
                }
                Verdict::Detach => settled.removed.extend(rename_away(conf, shard).await),
            }
        }
        futures::stream::iter(changed)
            .for_each_concurrent(WRITE_CONCURRENCY, |(shard, location)| {
                persist(conf, shard, location)
            })
            .await;
        Ok(settled)
    }
}

/// Writes a location file. A node that cannot record in which generation it works must not go on.
async fn persist(conf: &'static PageServerConf, shard: TenantShardId, location: LocationConf) {
    let write = move || -> Result<(), LocationFileError> {
        location::persist(&conf.tenant_location_path(&shard), &location)
    };
    let written = tokio::task::spawn_blocking(write).await;
    let failure = match written {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure.to_string(),
        Err(failure) => failure.to_string(),
    };
    tracing::error!("aborting because the location of tenant {shard} cannot be saved: {failure}");
    std::process::abort();
}

async fn rename_away(conf: &'static PageServerConf, shard: TenantShardId) -> Option<Utf8PathBuf> {
    let rename = move || directory::rename_away(&conf.tenant_path(&shard));
    match tokio::task::spawn_blocking(rename).await {
        Ok(Ok(renamed)) => renamed,
        Ok(Err(failure)) => {
            tracing::error!("the directory of the detached tenant {shard} stays: {failure}");
            None
        }
        Err(failure) => {
            tracing::error!("the directory of the detached tenant {shard} stays: {failure}");
            None
        }
    }
}

/// How others reach this node, from `metadata.json`.
async fn registration(conf: &'static PageServerConf) -> Option<Value> {
    let path = conf.workdir.join(METADATA_FILE_NAME);
    let bytes = match tokio::fs::read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!("Metadata file not found: {path}; the node does not register itself");
            return None;
        }
        Err(error) => {
            tracing::error!("cannot read {path}, the node does not register itself: {error}");
            return None;
        }
    };
    let metadata: Value = match serde_json::from_slice(&bytes) {
        Ok(metadata) => metadata,
        Err(error) => {
            tracing::error!("cannot parse {path}, the node does not register itself: {error}");
            return None;
        }
    };
    Some(json!({
        "node_id": conf.id,
        "listen_pg_addr": metadata.get("host"),
        "listen_pg_port": metadata.get("port"),
        "listen_http_addr": metadata.get("http_host"),
        "listen_http_port": metadata.get("http_port"),
    }))
}

#[cfg(test)]
mod tests;
