//! Waiting until WAL up to an LSN has been ingested.

use std::time::Duration;

use tokio::sync::watch;
use utils::Lsn;
use utils::seqwait::SeqWaitError;

use super::{Timeline, TimelineState, WaitLsnError};
use crate::context::RequestContext;
use crate::tasks::TaskKind;

/// On whose behalf an LSN is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitLsnWho {
    /// A page request.
    PageService,
    /// A read that went on to the ancestor.
    Ancestor,
    /// The management API or a background task.
    Other,
}

impl Timeline {
    /// Waits until `lsn` has been ingested, at most as long as configured.
    pub async fn wait_lsn(&self, lsn: Lsn, ctx: &RequestContext) -> Result<(), WaitLsnError> {
        self.wait_lsn_timeout(lsn, ctx, self.conf.wal.wait_lsn_timeout).await
    }

    /// Waits until `lsn` has been ingested, at most `timeout`.
    pub async fn wait_lsn_timeout(
        &self,
        lsn: Lsn,
        ctx: &RequestContext,
        timeout: Duration,
    ) -> Result<(), WaitLsnError> {
        let ingests = ctx.task_kind() == TaskKind::WalReceiverConnectionHandler;
        assert!(!ingests, "wait_lsn cannot be called in WAL receiver");
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
