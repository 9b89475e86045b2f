//! How far a timeline has got: the ends of its last two records, and waiting for more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use utils::Lsn;
use utils::seqwait::{SeqWait, SeqWaitError};

/// Ends of the last record and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordLsn {
    /// End of the last record.
    pub last: Lsn,
    /// End of the record before, which is where the last one starts, up to page headers.
    pub prev: Lsn,
}

/// The pair, and whoever waits for it.
pub(super) struct LastRecord {
    pair: Mutex<RecordLsn>,
    reached: SeqWait,
}

impl LastRecord {
    pub(super) fn new(pair: RecordLsn) -> LastRecord {
        LastRecord { pair: Mutex::new(pair), reached: SeqWait::new(pair.last) }
    }

    pub(super) fn load(&self) -> RecordLsn {
        *self.pair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves to `lsn`. A value that is not ahead changes nothing.
    pub(super) fn advance(&self, lsn: Lsn) {
        assert!(lsn.is_aligned(), "records end at multiples of 8, not at {lsn}");
        let mut pair = self.pair.lock().unwrap_or_else(PoisonError::into_inner);
        if lsn > pair.last {
            *pair = RecordLsn { last: lsn, prev: pair.last };
            self.reached.advance(lsn);
        }
    }

    pub(super) async fn wait_for(&self, lsn: Lsn, timeout: Duration) -> Result<(), SeqWaitError> {
        self.reached.wait_for_timeout(lsn, timeout).await
    }

    pub(super) fn has_waiters(&self) -> watch::Receiver<bool> {
        self.reached.has_waiters()
    }

    /// Fails everybody who waits.
    pub(super) fn shutdown(&self) {
        self.reached.shutdown();
    }
}
