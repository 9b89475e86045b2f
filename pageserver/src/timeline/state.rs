//! The states of a timeline and the transitions between them.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Timeline;

/// Where a timeline is in its life. The serialised form is part of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimelineState {
    /// Being made ready.
    Loading,
    /// In use.
    Active,
    /// Shutting down or being deleted.
    Stopping,
    /// Unusable.
    Broken {
        /// Why.
        reason: String,
        /// Where that was noticed.
        backtrace: String,
    },
}

impl Timeline {
    /// The current state.
    pub fn current_state(&self) -> TimelineState {
        self.state.borrow().clone()
    }

    /// Whether the timeline is in use.
    pub fn is_active(&self) -> bool {
        *self.state.borrow() == TimelineState::Active
    }

    /// Told about every change of state.
    pub fn subscribe_for_state_updates(&self) -> watch::Receiver<TimelineState> {
        self.state.subscribe()
    }

    /// Puts the timeline to use.
    pub fn activate(&self) {
        self.set_state(TimelineState::Active);
    }

    /// Gives the timeline up. Readers and writers are cancelled.
    pub fn set_broken(&self, reason: String) {
        let backtrace = std::backtrace::Backtrace::force_capture().to_string();
        tracing::error!("timeline {self:?} is broken: {reason}");
        self.set_state(TimelineState::Broken { reason, backtrace });
        self.cancel.cancel();
    }

    /// Changes the state if the transition makes sense, and says so if not.
    pub fn set_state(&self, new: TimelineState) {
        self.state.send_if_modified(|current| match (&*current, &new) {
            (old, new) if old == new => {
                tracing::info!("Ignoring new state, equal to the existing one: {new:?}");
                false
            }
            (_, TimelineState::Loading) => {
                tracing::error!("ignoring transition from {current:?} into Loading state");
                false
            }
            (TimelineState::Broken { .. }, new) => {
                tracing::error!("Ignoring state update {new:?} for broken timeline");
                false
            }
            (TimelineState::Stopping, TimelineState::Active) => {
                tracing::error!("Not activating a Stopping timeline");
                false
            }
            (
                TimelineState::Loading | TimelineState::Active | TimelineState::Stopping,
                TimelineState::Active | TimelineState::Stopping | TimelineState::Broken { .. },
            ) => {
                *current = new;
                true
            }
        });
    }

    /// Waits until the timeline is active; returns the state that makes that impossible.
    pub async fn wait_to_become_active(&self) -> Result<(), TimelineState> {
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|state| *state != TimelineState::Loading).await;
        match settled.as_deref() {
            Ok(TimelineState::Active) => Ok(()),
            Ok(other) => Err(other.clone()),
            // The sender lives as long as the timeline.
            Err(_) => Err(TimelineState::Stopping),
        }
    }
}
