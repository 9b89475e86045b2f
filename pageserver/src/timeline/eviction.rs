//! Eviction of layers by age, and the accesses that keep needed layers young.
//!
//! What a timeline keeps in memory, such as its logical size, hides accesses to the layers it was
//! computed from. They would look unused, go, and be needed by the next restart, all at once.
//! Imitating those accesses from time to time keeps them here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;

use super::{StorageOperation, Timeline};
use crate::context::RequestContext;
use crate::keymap::{Keymap, KeymapError};
use crate::layers::Layer;
use crate::layers::layer::EvictionError;

/// How long an eviction waits for readers. What was in use is not old any more.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of the layers that were old enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictionStats {
    /// Old enough.
    pub candidates: usize,
    /// Removed from here.
    pub evicted: usize,
    /// Gone already, or read again.
    pub not_evicted: usize,
    /// Kept by a reader.
    pub timeouts: usize,
}

impl Timeline {
    /// Evicts the layers that nobody has used for `threshold`.
    pub async fn evict_unused(&self, threshold: Duration) -> EvictionStats {
        let now = SystemTime::now();
        let is_old = |layer: &Layer| {
            // A clock that went back makes nothing old.
            let unused = now.duration_since(layer.latest_activity()).unwrap_or_default();
            unused > threshold && layer.is_evictable()
        };
        let old: Vec<Layer> = self.layers().into_iter().filter(is_old).collect();
        let outcomes = join_all(old.iter().map(|layer| layer.evict_and_wait(EVICTION_TIMEOUT)));
        let mut stats = EvictionStats { candidates: old.len(), ..EvictionStats::default() };
        for outcome in outcomes.await {
            match outcome {
                Ok(()) => stats.evicted += 1,
                Err(
                    EvictionError::NotFound | EvictionError::NotStored | EvictionError::Downloaded,
                ) => stats.not_evicted += 1,
                Err(EvictionError::Timeout) => stats.timeouts += 1,
            }
        }
        stats
    }

    /// Reads what a computation of the logical size, should one be due, and the next compaction
    /// will read.
    pub async fn imitate_accesses(
        self: &Arc<Self>,
        ctx: RequestContext,
    ) -> Result<(), KeymapError> {
        let _timer = self.operations.start(StorageOperation::ImitateLogicalSize);
        let keys = self.keys(ctx);
        let now = Keymap::at(&keys, self.last_record_lsn());
        now.logical_blocks().await?;
        now.collect_keyspace(self.pg_major).await?;
        Ok(())
    }
}
