//! Which engine applies a page's records: the native one, or the helper process.
//!
//! One per tenant shard. Records of custom resource managers are the helper's in any case, and
//! with them the whole chain, because their pages are in one piece only there.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use camino::Utf8PathBuf;
use pageserver_api::Key;
use pageserver_api::shard::TenantShardId;
use postgres_ffi::PgMajor;
use tokio_util::sync::CancellationToken;
use utils::Lsn;
use wal_redo_process::protocol::{PageTag, encode_request};

use super::failures::FailureRecorder;
use super::helper::HelperPool;
use super::in_process::{InProcessRedo, checked_target};
use super::{PostgresRedo, ReconstructError};
use crate::config::{RedoConfig, RedoEngine};

/// First number of a resource manager that an extension may register.
const FIRST_CUSTOM_RMID: u8 = 128;
/// Where a record's header has its resource manager.
const RMID_AT: usize = 17;

/// The engines of one tenant shard.
#[derive(Debug)]
pub struct RedoManager {
    engine: RedoEngine,
    helper: Option<HelperPool>,
    failures: Option<FailureRecorder>,
    /// Milliseconds since 1970 of the last request; 0 if there was none.
    last_redo_ms: AtomicI64,
}

impl RedoManager {
    /// Starts nothing: helper processes are started when they are needed. They end when
    /// [`RedoManager::shutdown`] is called, and none is started once `cancel` fires.
    pub fn new(
        conf: &RedoConfig,
        shard: TenantShardId,
        tenant_path: Utf8PathBuf,
        cancel: CancellationToken,
    ) -> Self {
        let pool = |command| HelperPool::new(command, conf.timeout, shard, cancel);
        RedoManager {
            engine: conf.engine,
            helper: conf.helper.clone().map(pool),
            failures: conf.record_failures.then(|| FailureRecorder::new(tenant_path)),
            last_redo_ms: AtomicI64::new(0),
        }
    }

    /// The pool that has to apply these records, if they are not for the native engine.
    fn helper_for(&self, records: &[(Lsn, Bytes)]) -> Option<&HelperPool> {
        let helper = self.helper.as_ref()?;
        let is_custom = |(_, raw): &(Lsn, Bytes)| {
            raw.get(RMID_AT).is_some_and(|rmid| *rmid >= FIRST_CUSTOM_RMID)
        };
        let wanted = self.engine == RedoEngine::Process || records.iter().any(is_custom);
        wanted.then_some(helper)
    }

    /// When records were last applied.
    pub fn last_redo_at(&self) -> Option<SystemTime> {
        let millis = u64::try_from(self.last_redo_ms.load(Ordering::Relaxed)).ok()?;
        (millis > 0).then(|| UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// Ids of the running helper processes.
    pub async fn process_ids(&self) -> Vec<u32> {
        match &self.helper {
            Some(helper) => helper.process_ids().await,
            None => Vec::new(),
        }
    }

    /// Ends helper processes that had nothing to do for that long.
    pub async fn quiesce(&self, idle: Duration) {
        if let Some(helper) = &self.helper {
            helper.quiesce(idle).await;
        }
    }

    /// Ends the helper processes. The token must have been cancelled.
    pub async fn shutdown(&self) {
        if let Some(helper) = &self.helper {
            helper.shutdown().await;
        }
    }
}

impl PostgresRedo for RedoManager {
    async fn apply(
        &self,
        key: Key,
        base: Option<Bytes>,
        records: &[(Lsn, Bytes)],
        major: PgMajor,
    ) -> Result<Bytes, ReconstructError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_redo_ms.store(now.as_millis() as i64, Ordering::Relaxed);
        // Both share their memory with the caller's: kept in case the request must be recorded.
        let kept = self.failures.as_ref().map(|recorder| (recorder, base.clone()));
        let result = match self.helper_for(records) {
            None => InProcessRedo.apply(key, base, records, major).await,
            Some(helper) => {
                let (rel, block) = checked_target(key, base.as_ref(), records)?;
                let tag = PageTag { rel, block };
                let request = encode_request(tag, base.as_deref(), records);
                helper
                    .request(major, &request, (key, records))
                    .await
                    .map_err(|source| ReconstructError::Helper { key, source })
            }
        };
        if let (Err(_), Some((recorder, base)), Some((rel, block))) =
            (&result, kept, key.to_rel_block())
        {
            let request = encode_request(PageTag { rel, block }, base.as_deref(), records);
            recorder.record(request).await;
        }
        result
    }
}

#[cfg(test)]
mod tests;
