//! Waiting until WAL up to an LSN has been ingested.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use utils::Lsn;
use utils::seqwait::SeqWaitError;

use super::metrics::READS;
use super::{Timeline, TimelineState, WaitLsnError};
use crate::context::RequestContext;
use crate::tasks::TaskKind;

impl Timeline {
    /// Waits until `lsn` has been ingested, at most as long as configured.
    ///
    /// # Panics
    /// In the task that ingests: it would wait for itself.
    pub async fn wait_lsn(&self, lsn: Lsn, ctx: &RequestContext) -> Result<(), WaitLsnError> {
        let ingests = ctx.task_kind() == TaskKind::WalReceiverConnectionHandler;
        assert!(!ingests, "wait_lsn cannot be called in WAL receiver");
        let started = Instant::now();
        let waited = self.wait_lsn_timeout(lsn, self.conf.wal.wait_lsn_timeout).await;
        READS.waited(started);
        waited
    }

    /// Waits until `lsn` has been ingested, at most `timeout`. A branch's ingest may wait so for
    /// its ancestor.
    pub async fn wait_lsn_timeout(&self, lsn: Lsn, timeout: Duration) -> Result<(), WaitLsnError> {
        if lsn <= self.last_record_lsn() {
            return Ok(());
        }
        if self.cancel.is_cancelled() {
            return Err(WaitLsnError::Shutdown);
        }
        let state = self.current_state();
        if state != TimelineState::Active {
            return Err(WaitLsnError::BadState(format!("{state:?}")));
        }
        match self.last_record.wait_for(lsn, timeout).await {
            Ok(()) => Ok(()),
            Err(SeqWaitError::Shutdown) => Err(WaitLsnError::Shutdown),
            Err(SeqWaitError::Timeout) => Err(WaitLsnError::Timeout(format!(
                "Timed out while waiting for WAL record at LSN {lsn} to arrive, last_record_lsn {} disk consistent LSN={}",
                self.last_record_lsn(),
                self.disk_consistent_lsn(),
            ))),
        }
    }

    /// Whether somebody waits for an LSN: a reason to look for a safekeeper at once.
    pub fn lsn_waiters(&self) -> watch::Receiver<bool> {
        self.last_record.has_waiters()
    }
}
