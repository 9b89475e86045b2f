//! Ending all timelines when the daemon stops in order.
//!
//! Durability does not depend on it. It keeps the positions that run ahead of control files:
//! without them a timeline that had come to rest knows, after the next start, less of what is
//! committed than its pageservers must be told.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Timelines;
use crate::timeline::{Timeline, TimelineError};

/// How long work on timelines may take to end. After that positions are saved nevertheless.
const END_OF_WORK_LIMIT: Duration = Duration::from_secs(2);
/// How long the whole may take: less than those who stop daemons wait before they kill them.
const STOP_LIMIT: Duration = Duration::from_secs(6);
/// Control files that are saved at the same time, so that the disk can sync them together.
const PARALLEL_SAVES: usize = 16;

/// When to give up what.
#[derive(Clone, Copy)]
struct Deadlines {
    end_of_work: Instant,
    stop: Instant,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Saved {
    saved: usize,
    failed: usize,
}

impl Timelines {
    /// Ends everything that runs on timelines, then saves what runs ahead of their control files.
    /// Takes a few seconds at most; what is not done by then is counted in the log.
    pub async fn stop(self: &Arc<Self>) {
        let now = Instant::now();
        let deadlines = Deadlines { end_of_work: now + END_OF_WORK_LIMIT, stop: now + STOP_LIMIT };
        // Those that are on their way out already are being deleted, or out of service because
        // what they have in memory is not to be trusted.
        let mut timelines = self.all();
        timelines.retain(|timeline| timeline.begin_shutdown());
        let share_length = timelines.len().div_ceil(PARALLEL_SAVES).max(1);
        let mut shares = JoinSet::new();
        for share in timelines.chunks(share_length) {
            let (timelines, share) = (self.clone(), share.to_vec());
            let stop = async move { timelines.stop_some(&share, deadlines).await };
            shares.spawn_on(stop, &self.node.roles.background);
        }
        let mut total = Saved::default();
        while let Some(share) = shares.join_next().await {
            match share {
                Ok(Saved { saved, failed }) => {
                    total.saved += saved;
                    total.failed += failed;
                }
                Err(error) => tracing::error!("stopping timelines failed: {error}"),
            }
        }
        let Saved { saved, failed } = total;
        let elapsed = now.elapsed();
        tracing::info!("saved {saved} control files in {elapsed:?}; {failed} could not be saved");
    }

    async fn stop_some(&self, timelines: &[Arc<Timeline>], deadlines: Deadlines) -> Saved {
        let mut total = Saved::default();
        for timeline in timelines {
            let shutdown = timeline.shutdown();
            if tokio::time::timeout_at(deadlines.end_of_work, shutdown).await.is_err() {
                tracing::warn!("something still runs on timeline {}", timeline.ttid());
            }
            let save = self.save_stopped(timeline);
            match tokio::time::timeout_at(deadlines.stop, save).await {
                Ok(Ok(true)) => total.saved += 1,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!("cannot save the control file: {error}");
                    total.failed += 1;
                }
                Err(_elapsed) => total.failed += 1,
            }
        }
        total
    }

    /// Saves what runs ahead of a control file, unless the timeline was deleted meanwhile.
    /// Returns whether there was anything.
    async fn save_stopped(&self, timeline: &Timeline) -> Result<bool, TimelineError> {
        let _exclusive = self.exclusive(timeline.ttid()).await;
        let exists = self.lock().timelines.contains_key(&timeline.ttid());
        match exists {
            true => timeline.save_for_shutdown().await,
            false => Ok(false),
        }
    }
}
