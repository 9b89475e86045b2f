//! The location of a tenant shard: its role here, its generation and its own options.
//!
//! Persisted as `config-v1` in the tenant's directory. The generation in that file is the one the
//! shard is attached in after a restart, so it is written before it is used, and a failure to
//! write it must end the process (the callers see to that).

mod file;

use std::sync::{Arc, PoisonError, RwLock};

use pageserver_api::models::{
    LocationConfig, LocationConfigMode, SecondaryConfig, TenantConfig, TenantConfigOverrides,
};
use pageserver_api::shard::{ShardConfigError, ShardCount, ShardIdentity, ShardNumber};
use serde::{Deserialize, Serialize};
use utils::Generation;

pub use file::{LocationFileError, load, parse, persist, render};

/// What an attached location may do to remote storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachMode {
    /// The only one: uploads and deletes.
    Single,
    /// One of several: uploads.
    Multi,
    /// About to be replaced: neither.
    Stale,
}

impl AttachMode {
    /// Whether uploads make sense.
    pub fn may_upload(self) -> bool {
        match self {
            AttachMode::Single | AttachMode::Multi => true,
            AttachMode::Stale => false,
        }
    }

    /// Whether compaction and garbage collection may remove layers.
    pub fn may_delete(self) -> bool {
        self == AttachMode::Single
    }
}

/// The role of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocationMode {
    /// Serves the tenant.
    Attached {
        /// The generation it writes objects in.
        #[serde(default, skip_serializing_if = "Generation::is_none")]
        generation: Generation,
        /// What it may do to remote storage.
        attach_mode: AttachMode,
    },
    /// Keeps a cache.
    Secondary {
        /// Whether it keeps downloading.
        warm: bool,
    },
}

/// The location of a tenant shard.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationConf {
    /// Its role.
    pub mode: LocationMode,
    /// Which keys it holds.
    pub shard: ShardIdentity,
    /// The tenant's own options.
    pub tenant_conf: TenantConfigOverrides,
}

/// A request for a location that cannot be right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LocationError {
    /// An attached mode without a generation.
    #[error("Generation must be set when attaching")]
    NoGeneration,
    /// A generation for a secondary.
    #[error("Generation must not be set for a secondary location")]
    SecondaryWithGeneration,
    /// The shard parameters contradict each other.
    #[error(transparent)]
    Shard(#[from] ShardConfigError),
    /// Being detached is no location.
    #[error("a detached tenant has no location")]
    Detached,
}

impl TryFrom<LocationConfig> for LocationConf {
    type Error = LocationError;

    fn try_from(request: LocationConfig) -> Result<Self, LocationError> {
        let attached = |attach_mode| -> Result<LocationMode, LocationError> {
            let generation = request.generation.ok_or(LocationError::NoGeneration)?;
            Ok(LocationMode::Attached { generation: Generation::Valid(generation), attach_mode })
        };
        let mode = match request.mode {
            LocationConfigMode::AttachedSingle => attached(AttachMode::Single)?,
            LocationConfigMode::AttachedMulti => attached(AttachMode::Multi)?,
            LocationConfigMode::AttachedStale => attached(AttachMode::Stale)?,
            LocationConfigMode::Secondary if request.generation.is_some() => {
                return Err(LocationError::SecondaryWithGeneration);
            }
            LocationConfigMode::Secondary => {
                LocationMode::Secondary { warm: request.secondary_conf.is_some_and(|c| c.warm) }
            }
            LocationConfigMode::Detached => return Err(LocationError::Detached),
        };
        let shard = match request.shard_count {
            0 => ShardIdentity::unsharded(),
            count => ShardIdentity::new(
                ShardNumber(request.shard_number),
                ShardCount(count),
                request.shard_stripe_size,
            )?,
        };
        Ok(LocationConf { mode, shard, tenant_conf: request.tenant_conf })
    }
}

impl From<&LocationConf> for LocationConfig {
    fn from(conf: &LocationConf) -> LocationConfig {
        let (mode, generation, secondary_conf) = match conf.mode {
            LocationMode::Attached { generation, attach_mode } => {
                let mode = match attach_mode {
                    AttachMode::Single => LocationConfigMode::AttachedSingle,
                    AttachMode::Multi => LocationConfigMode::AttachedMulti,
                    AttachMode::Stale => LocationConfigMode::AttachedStale,
                };
                (mode, generation.into_option(), None)
            }
            LocationMode::Secondary { warm } => {
                (LocationConfigMode::Secondary, None, Some(SecondaryConfig { warm }))
            }
        };
        LocationConfig {
            mode,
            generation,
            secondary_conf,
            shard_number: conf.shard.number.0,
            shard_count: conf.shard.count.0,
            shard_stripe_size: conf.shard.stripe_size,
            tenant_conf: conf.tenant_conf.clone(),
        }
    }
}

/// What an attached tenant works with.
#[derive(Clone, Debug)]
pub struct AttachedTenantConf {
    /// The generation it writes objects in.
    pub generation: Generation,
    /// What it may do to remote storage.
    pub attach_mode: AttachMode,
    /// The tenant's own options.
    pub overrides: TenantConfigOverrides,
    /// The options in effect.
    pub effective: TenantConfig,
}

impl AttachedTenantConf {
    /// Joins a location's parts with the node's defaults.
    pub fn new(
        generation: Generation,
        attach_mode: AttachMode,
        overrides: TenantConfigOverrides,
        defaults: &TenantConfig,
    ) -> Self {
        let effective = overrides.merge(defaults);
        AttachedTenantConf { generation, attach_mode, overrides, effective }
    }
}

/// The current configuration of an attached tenant, shared with its timelines. It can change
/// while the tenant runs; readers take a snapshot.
#[derive(Clone, Debug)]
pub struct TenantConfHandle(Arc<RwLock<Arc<AttachedTenantConf>>>);

impl TenantConfHandle {
    /// Starts with `conf`.
    pub fn new(conf: AttachedTenantConf) -> Self {
        TenantConfHandle(Arc::new(RwLock::new(Arc::new(conf))))
    }

    /// A snapshot.
    pub fn load(&self) -> Arc<AttachedTenantConf> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration.
    pub fn store(&self, conf: AttachedTenantConf) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(conf);
    }

    /// A handle with default options in `generation`, for tests.
    #[cfg(test)]
    pub fn for_tests(generation: Generation) -> Self {
        TenantConfHandle::new(AttachedTenantConf::new(
            generation,
            AttachMode::Single,
            TenantConfigOverrides::default(),
            &TenantConfig::default(),
        ))
    }
}

#[cfg(test)]
mod tests;
