//! Shuts a tenant down: ingest first, so that a flush has an end; uploads before anything that
//! would cancel them; everything awaited at last.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pageserver_api::models::TenantState;
use tracing::info;

use crate::timeline::{Timeline, TimelineState};

use super::{ShutdownMode, Tenant};

/// How long written data may take to reach remote storage when the process stops. What has not
/// arrived by then is still with the safekeepers.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
/// How long a tenant may take to end before the log says so.
const QUIET_WAIT: Duration = Duration::from_secs(1);

impl Tenant {
    /// Stops everything that works on the tenant, and returns when nothing does any more. A second
    /// call waits for the first.
    pub async fn shutdown(self: &Arc<Self>, mode: ShutdownMode) {
        let before = self.state.current();
        let first = self.state.set_stopping();
        // Timelines that are still being loaded have nothing worth flushing.
        let mode = if before == TenantState::Active { mode } else { ShutdownMode::Hard };
        if before != TenantState::Active {
            self.cancel.cancel();
        }
        if first {
            info!("Waiting for timelines...");
            let timelines = self.list_timelines();
            join_all(timelines.iter().map(|timeline| self.shutdown_timeline(timeline, mode))).await;
            self.cancel.cancel();
            self.tasks.wait().await;
            self.redo.shutdown().await;
        }
        self.close_gate().await;
    }

    /// Ends ingest, then everything else.
    pub(super) async fn shutdown_timeline(&self, timeline: &Arc<Timeline>, mode: ShutdownMode) {
        timeline.set_state(TimelineState::Stopping);
        self.stop_receiver(timeline.timeline_id).await;
        let limit = match mode {
            ShutdownMode::FreezeAndFlush => {
                let flush = timeline.shutdown(ShutdownMode::FreezeAndFlush);
                if tokio::time::timeout(FLUSH_LIMIT, flush).await.is_ok() {
                    return;
                }
                tracing::warn!(timeline_id = %timeline.timeline_id,
                    "flush before shutdown took longer than {FLUSH_LIMIT:?}, giving up");
                ShutdownMode::Hard
            }
            ShutdownMode::Hard => ShutdownMode::Hard,
        };
        timeline.shutdown(limit).await;
    }

    async fn close_gate(&self) {
        if tokio::time::timeout(QUIET_WAIT, self.gate.close()).await.is_err() {
            info!("closing is taking longer than expected");
            self.gate.close().await;
        }
    }
}
