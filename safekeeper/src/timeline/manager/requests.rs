//! What others ask of a manager, and what they see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::super::TimelineError;
use super::super::residence::ResidenceGuard;

/// Something for the manager to do.
#[derive(Debug)]
pub enum Request {
    /// Make the WAL present and keep it so.
    Guard(oneshot::Sender<Result<ResidenceGuard, TimelineError>>),
    /// The guard with this number is gone.
    ReleaseGuard(u64),
}

/// What a manager is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[repr(u8)]
pub enum ManagerStatus {
    /// Its task has not run yet.
    NotStarted,
    /// Its task runs.
    Started,
    /// Looks at the state.
    StateSnapshot,
    /// Starts or stops archiving.
    UpdateBackup,
    /// Saves the control file if that is due.
    UpdateControlFile,
    /// Starts to remove WAL.
    UpdateWalRemoval,
    /// Starts to archive the partial segment.
    UpdatePartialBackup,
    /// Moves the timeline to the archive.
    EvictTimeline,
    /// Waits for a change.
    Wait,
    /// Answers a request.
    #[serde(rename = "HandleMessage")]
    HandleRequest,
    /// Stops its tasks.
    Exiting,
    /// Is gone.
    Finished,
}

impl ManagerStatus {
    const ALL: [ManagerStatus; 12] = [
        Self::NotStarted,
        Self::Started,
        Self::StateSnapshot,
        Self::UpdateBackup,
        Self::UpdateControlFile,
        Self::UpdateWalRemoval,
        Self::UpdatePartialBackup,
        Self::EvictTimeline,
        Self::Wait,
        Self::HandleRequest,
        Self::Exiting,
        Self::Finished,
    ];
}

/// A timeline's end of the channel to its manager.
#[derive(Debug)]
pub struct ManagerHandle {
    requests: UnboundedSender<Request>,
    status: Arc<AtomicU8>,
}

/// Both ends of the channel between a timeline and its manager. Its length is bounded by the
/// number of holders and askers of guards, that is by the number of connections.
pub(in crate::timeline) fn channel() -> (ManagerHandle, UnboundedReceiver<Request>) {
    let (requests, inbox) = unbounded_channel();
    let status = Arc::new(AtomicU8::new(ManagerStatus::NotStarted as u8));
    (ManagerHandle { requests, status }, inbox)
}

impl ManagerHandle {
    /// What the manager is doing.
    pub fn status(&self) -> ManagerStatus {
        let index = usize::from(self.status.load(Ordering::Relaxed));
        ManagerStatus::ALL.get(index).copied().unwrap_or(ManagerStatus::NotStarted)
    }

    pub(in crate::timeline) fn set_status(&self, status: ManagerStatus) {
        self.status.store(status as u8, Ordering::Relaxed);
    }

    pub(in crate::timeline) fn sender(&self) -> UnboundedSender<Request> {
        self.requests.clone()
    }

    /// Asks for a guard; `None` when the manager is gone.
    pub(in crate::timeline) async fn request_guard(
        &self,
    ) -> Option<Result<ResidenceGuard, TimelineError>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Guard(reply)).ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_shown_as_it_was_set() {
        let (handle, _inbox) = channel();
        for status in ManagerStatus::ALL {
            handle.set_status(status);
            assert_eq!(handle.status(), status);
        }
    }
}
