//! Every timeline this safekeeper has, by id.
//!
//! Creation, loading and deletion of one timeline exclude each other; different timelines do
//! not wait for one another. A deleted timeline leaves a tombstone in memory, so that a compute
//! which still runs cannot bring it back.

mod construction;
pub mod copy;
mod create;
mod delete;
mod load;
pub mod pull;
mod stop;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use utils::{TenantId, TenantTimelineId};

use crate::config::Config;
use crate::node::Node;
use crate::timeline::{Timeline, TimelineError};

pub use create::NewTimeline;

/// Tombstones older than this are forgotten.
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
struct Map {
    timelines: HashMap<TenantTimelineId, Arc<Timeline>>,
    tombstones: HashMap<TenantTimelineId, Instant>,
    /// Who creates, loads or deletes a timeline right now.
    exclusive: HashMap<TenantTimelineId, Arc<tokio::sync::Mutex<()>>>,
}

/// The timelines of this safekeeper.
#[derive(Debug)]
pub struct Timelines {
    node: Arc<Node>,
    map: Mutex<Map>,
}

impl Timelines {
    /// None yet.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Self { node, map: Mutex::default() })
    }

    /// What all timelines share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What the daemon runs with.
    pub fn config(&self) -> &Config {
        &self.node.config
    }

    /// A timeline that can be used.
    pub fn get(&self, ttid: TenantTimelineId) -> Result<Arc<Timeline>, TimelineError> {
        let known = self.lock().timelines.get(&ttid).cloned();
        let timeline = known.ok_or(TimelineError::NotFound(ttid))?;
        timeline.check_usable()?;
        Ok(timeline)
    }

    /// Every timeline.
    pub fn all(&self) -> Vec<Arc<Timeline>> {
        self.lock().timelines.values().cloned().collect()
    }

    /// The timelines others should hear of.
    pub fn active(&self) -> Vec<Arc<Timeline>> {
        self.node.active.all()
    }

    /// Those that no longer are since the last call.
    pub fn take_rested(&self) -> Vec<Arc<Timeline>> {
        let rested = self.node.active.take_rested();
        rested.into_iter().filter_map(|ttid| self.get(ttid).ok()).collect()
    }

    /// Forgets tombstones that are old enough.
    pub fn forget_old_tombstones(&self) {
        self.lock().tombstones.retain(|_, deleted| deleted.elapsed() < TOMBSTONE_LIFETIME);
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant_dir(&self, tenant_id: TenantId) -> Utf8PathBuf {
        self.config().workdir.join(tenant_id.to_string())
    }

    fn timeline_dir(&self, ttid: TenantTimelineId) -> Utf8PathBuf {
        self.tenant_dir(ttid.tenant_id).join(ttid.timeline_id.to_string())
    }

    /// Excludes every other creation, loading and deletion of the same timeline.
    async fn exclusive(&self, ttid: TenantTimelineId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut map = self.lock();
            // Whoever holds or awaits a lock has a reference to it.
            map.exclusive.retain(|_, lock| Arc::strong_count(lock) > 1);
            map.exclusive.entry(ttid).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests;
