//! Shutting a timeline down, with or without saving what is only in memory.

use std::sync::Arc;

use super::{Timeline, TimelineState};

/// Whether to make everything durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Flush, and upload everything, before the end. Takes as long as that takes.
    FreezeAndFlush,
    /// Stop now. What was not uploaded is read again from safekeepers.
    Hard,
}

impl Timeline {
    /// Ends all work on the timeline and waits for it. The caller has stopped ingest: a flush
    /// needs an end. Repeating it is fine.
    pub async fn shutdown(self: &Arc<Self>, mode: ShutdownMode) {
        // Nobody will get what it waits for any more.
        self.last_record.shutdown();
        if mode == ShutdownMode::FreezeAndFlush && self.may_flush() {
            match self.freeze_and_flush().await {
                // The drain comes before the token fires, because uploads listen to it.
                Ok(()) => self.remote_client.shutdown().await,
                Err(error) => tracing::warn!("failed to freeze and flush: {error}"),
            }
        }
        self.cancel.cancel();
        self.remote_client.stop();
        self.remote_client.wait_stopped().await;
        self.tasks.shutdown().await;
        self.gate.close().await;
        if !matches!(self.current_state(), TimelineState::Broken { .. } | TimelineState::Stopping) {
            self.set_state(TimelineState::Stopping);
        }
    }

    fn may_flush(&self) -> bool {
        !self.cancel.is_cancelled() && !matches!(self.current_state(), TimelineState::Broken { .. })
    }
}
