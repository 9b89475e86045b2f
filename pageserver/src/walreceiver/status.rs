//! What a timeline's receiver is doing: wait timeouts and the API show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use utils::Lsn;

/// The text of a timeline without a running receiver.
const NOT_ACTIVE: &str = "Not active";

/// Shared between the receiver, which sets it, and whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct WalReceiverStatus {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    text: Option<String>,
    last_wal: Option<ReceivedWal>,
}

/// WAL that came last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedWal {
    /// The safekeeper, as a connection string.
    pub source: Arc<str>,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was ingested.
    pub at: SystemTime,
}

impl WalReceiverStatus {
    /// A line for people.
    pub fn text(&self) -> String {
        self.lock().text.clone().unwrap_or_else(|| NOT_ACTIVE.to_owned())
    }

    /// The WAL that came last, if any has come since the timeline was loaded.
    pub fn last_wal(&self) -> Option<ReceivedWal> {
        self.lock().last_wal.clone()
    }

    pub(super) fn set(&self, text: Option<String>) {
        self.lock().text = text;
    }

    pub(super) fn set_last_wal(&self, wal: ReceivedWal) {
        self.lock().last_wal = Some(wal);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
