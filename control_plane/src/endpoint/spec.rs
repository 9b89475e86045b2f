//! The compute spec: what compute_ctl is told.

use serde_json::{Value, json};
use utils::NodeId;

use super::{ComputeMode, Endpoint, EndpointError};
use crate::config::{AuthType, LocalEnv, PageserverConf, SafekeeperConf};
use crate::tokens;

/// Role and database of `--create-test-user`.
pub(super) const TEST_USER: &str = "test";
pub(super) const TEST_DATABASE: &str = "neondb";

/// Which storage a compute uses.
#[derive(Debug, Clone)]
pub struct ComputeTarget {
    /// The pageservers of the tenant's shards, in shard order.
    pub pageservers: Vec<PageserverConf>,
    /// Pages per stripe of a sharded tenant.
    pub shard_stripe_size: Option<u32>,
    /// The safekeepers to write to; `None` for all.
    pub safekeepers: Option<Vec<NodeId>>,
}

impl ComputeTarget {
    /// Where pages come from.
    pub(super) fn pageserver_connstring(&self, env: &LocalEnv) -> String {
        let connstring = |conf: &PageserverConf| {
            let (host, port) = conf.pg_host_port();
            env.service_connstring("no_user", host, port)
        };
        self.pageservers.iter().map(connstring).collect::<Vec<_>>().join(",")
    }

    /// Where WAL goes.
    pub(super) fn safekeeper_connstrings(
        &self,
        env: &LocalEnv,
    ) -> Result<Vec<String>, EndpointError> {
        let all = &env.config.safekeepers;
        let chosen = match &self.safekeepers {
            None => all.iter().collect(),
            Some(ids) => ids
                .iter()
                .map(|id| {
                    let found = all.iter().find(|safekeeper| safekeeper.id == *id);
                    found.ok_or(EndpointError::NoSafekeeper(*id))
                })
                .collect::<Result<Vec<_>, _>>()?,
        };
        let connstring = |conf: &SafekeeperConf| match env.certificates() {
            None => format!("{}:{}", conf.host(), conf.compute_port()),
            Some(_) => env.service_connstring("no_user", conf.host(), conf.compute_port()),
        };
        Ok(chosen.into_iter().map(connstring).collect())
    }
}

impl Endpoint {
    /// The spec of a start.
    pub(super) fn spec(
        &self,
        env: &LocalEnv,
        target: &ComputeTarget,
        create_test_user: bool,
    ) -> Result<Value, EndpointError> {
        let conf = &self.conf;
        let safekeepers = match conf.mode {
            ComputeMode::Primary => target.safekeeper_connstrings(env)?,
            ComputeMode::Static(_) | ComputeMode::Replica => Vec::new(),
        };
        if conf.mode == ComputeMode::Primary && safekeepers.is_empty() {
            return Err(EndpointError::NoSafekeepers(conf.endpoint_id.clone()));
        }
        let (roles, databases) = match create_test_user {
            true => (
                json!([{"name": TEST_USER, "encrypted_password": null, "options": null}]),
                json!([{"name": TEST_DATABASE, "owner": TEST_USER, "options": null}]),
            ),
            false => (json!([]), json!([])),
        };
        Ok(json!({
            "format_version": 1.0,
            "features": conf.features,
            "cluster": {
                "roles": roles,
                "databases": databases,
                "postgresql_conf": self.read_text("postgresql.conf")?,
            },
            "skip_pg_catalog_updates": conf.skip_pg_catalog_updates,
            "tenant_id": conf.tenant_id,
            "timeline_id": conf.timeline_id,
            "mode": conf.mode,
            "pageserver_connstring": target.pageserver_connstring(env),
            "safekeeper_connstrings": safekeepers,
            "storage_auth_token": self.storage_auth_token(env)?,
            "remote_extensions": self.remote_extensions()?,
            "shard_stripe_size": target.shard_stripe_size,
        }))
    }

    fn storage_auth_token(&self, env: &LocalEnv) -> Result<Option<String>, EndpointError> {
        match env.pageservers.first().map(|conf| conf.pg_auth_type) {
            Some(AuthType::NeonJWT) => Ok(Some(tokens::tenant(env, self.conf.tenant_id)?)),
            Some(AuthType::Trust) | None => Ok(None),
        }
    }

    /// What a user put there, if anything.
    fn remote_extensions(&self) -> Result<Value, EndpointError> {
        const NAME: &str = "remote_extensions_spec.json";
        let path = self.dir.join(NAME);
        if !path.exists() {
            return Ok(Value::Null);
        }
        let text = self.read_text(NAME)?;
        serde_json::from_str(&text)
            .map_err(|error| EndpointError::Invalid { path, reason: error.to_string() })
    }
}
