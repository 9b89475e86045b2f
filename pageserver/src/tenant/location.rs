//! What this node is to a shard: where it is attached, or where a cache of it is kept.

use std::sync::Arc;

use crate::config::LocationConf;
use crate::secondary::SecondaryTenant;
use crate::timeline::ShutdownMode;

use super::Tenant;
use super::slots::{Occupant, Role};

/// The occupant of a slot.
#[derive(Clone)]
pub enum Location {
    /// The shard is served here.
    Attached(Arc<Tenant>),
    /// A cache of it is kept here.
    Secondary(Arc<SecondaryTenant>),
}

impl Location {
    /// The tenant, if it is served here.
    pub fn attached(&self) -> Option<&Arc<Tenant>> {
        match self {
            Location::Attached(tenant) => Some(tenant),
            Location::Secondary(_) => None,
        }
    }

    /// The cache, if that is what is here.
    pub fn secondary(&self) -> Option<&Arc<SecondaryTenant>> {
        match self {
            Location::Attached(_) => None,
            Location::Secondary(secondary) => Some(secondary),
        }
    }

    /// The location as it is now: what is persisted, and what HTTP shows.
    pub fn conf(&self) -> LocationConf {
        match self {
            Location::Attached(tenant) => tenant.location(),
            Location::Secondary(secondary) => secondary.location(),
        }
    }

    /// Stops everything that works on it, and returns when nothing does any more.
    pub async fn shutdown(&self, mode: ShutdownMode) {
        match self {
            Location::Attached(tenant) => tenant.shutdown(mode).await,
            Location::Secondary(secondary) => secondary.shutdown().await,
        }
    }
}

impl Occupant for Location {
    fn is_shut_down(&self) -> bool {
        match self {
            Location::Attached(tenant) => tenant.gate.close_complete(),
            Location::Secondary(secondary) => secondary.is_shut_down(),
        }
    }

    fn role(&self) -> Role {
        match self {
            Location::Attached(_) => Role::Attached,
            Location::Secondary(_) => Role::Secondary,
        }
    }
}
