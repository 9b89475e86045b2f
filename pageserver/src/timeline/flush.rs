//! The flush loop: writes frozen layers out as L0 deltas, oldest first.
//!
//! One task per timeline, started by the first writer. Requests are numbered; whoever wants to
//! know waits for the number it was given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use layer_format::LayerFileMetadata;
use tokio::sync::watch;
use utils::{Lsn, fs_ext};

use super::new_layer::NewLayer;
use super::{FlushError, StorageOperation, Timeline};
use crate::layers::in_memory::WriteOutError;
use crate::layers::{InMemoryLayer, Layer};
use crate::tasks::{ExitOnError, TaskKind};

/// A request to flush up to an LSN.
#[derive(Clone, Copy, Default)]
struct FlushRequest {
    number: u64,
    /// Exclusive.
    end_lsn: Lsn,
}

/// The last request that was served, and how that went.
#[derive(Clone)]
struct FlushDone {
    number: u64,
    result: Result<(), FlushError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopState {
    NotStarted,
    Running,
    Exited,
}

/// What connects writers and the flush loop.
pub(super) struct FlushControl {
    next_number: AtomicU64,
    requests: watch::Sender<FlushRequest>,
    done: watch::Sender<FlushDone>,
    state: Mutex<LoopState>,
}

impl FlushControl {
    pub(super) fn new() -> FlushControl {
        FlushControl {
            next_number: AtomicU64::new(1),
            requests: watch::Sender::new(FlushRequest::default()),
            done: watch::Sender::new(FlushDone { number: 0, result: Ok(()) }),
            state: Mutex::new(LoopState::NotStarted),
        }
    }

    /// Asks for everything below `end_lsn` to be flushed; returns the request's number.
    pub(super) fn request(&self, end_lsn: Lsn) -> u64 {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.requests.send_modify(|request| {
            request.number = request.number.max(number);
            request.end_lsn = request.end_lsn.max(end_lsn);
        });
        number
    }

    fn state(&self) -> LoopState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: LoopState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Moves to Running if the loop was never started.
    fn start(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = *state == LoopState::NotStarted;
        if start {
            *state = LoopState::Running;
        }
        start
    }
}

impl Timeline {
    /// Starts the flush loop if it is not running yet.
    pub(super) fn ensure_flush_loop(self: &Arc<Self>) {
        if self.cancel.is_cancelled() || !self.flush.start() {
            return;
        }
        let timeline = Arc::clone(self);
        // Subscribed before the task first runs, so that no request can be missed.
        let requests = self.flush.requests.subscribe();
        let task = async move {
            timeline.flush_loop(requests).await;
            timeline.flush.set_state(LoopState::Exited);
            // Whoever still waits must learn that nobody will come.
            timeline.flush.done.send_modify(|done| done.result = Err(FlushError::Cancelled));
            Ok::<(), std::convert::Infallible>(())
        };
        let runtime = &self.layer_owner.runtime;
        self.tasks.spawn_on(runtime, TaskKind::LayerFlushTask, ExitOnError::No, task);
    }

    /// Freezes the open layer, and waits until everything ingested is in layer files whose
    /// upload is scheduled.
    pub async fn freeze_and_flush(self: &Arc<Self>) -> Result<(), FlushError> {
        let number = self.writer().await.freeze();
        self.wait_flushed(number).await
    }

    async fn wait_flushed(&self, number: u64) -> Result<(), FlushError> {
        let mut done = self.flush.done.subscribe();
        match self.flush.state() {
            LoopState::Running => {}
            LoopState::NotStarted => return Err(FlushError::NotRunning("NotStarted")),
            LoopState::Exited => return Err(FlushError::NotRunning("Exited")),
        }
        let served = done.wait_for(|done| {
            done.number >= number || matches!(done.result, Err(FlushError::Cancelled))
        });
        match served.await.as_deref() {
            Ok(done) => done.result.clone(),
            Err(_) => Err(FlushError::Cancelled),
        }
    }

    async fn flush_loop(&self, mut requests: watch::Receiver<FlushRequest>) {
        loop {
            let request = tokio::select! {
                changed = requests.changed() => match changed {
                    Ok(()) => *requests.borrow_and_update(),
                    Err(_) => return,
                },
                () = self.cancel.cancelled() => return,
            };
            // Boxed while it runs: a loop that waits has no use for the room.
            let result = Box::pin(self.flush_round(request.end_lsn)).await;
            if let Err(error) = &result
                && !matches!(error, FlushError::Cancelled)
            {
                tracing::error!("{error}");
            }
            let number = request.number;
            self.flush.done.send_replace(FlushDone { number, result });
        }
    }

    /// Flushes all frozen layers; then lets the consistent LSN pass WAL without data.
    async fn flush_round(&self, end_lsn: Lsn) -> Result<(), FlushError> {
        loop {
            let oldest = self.layers_read().oldest_frozen().cloned();
            let Some(layer) = oldest else { break };
            if self.cancel.is_cancelled() {
                return Err(FlushError::Cancelled);
            }
            self.flush_layer(layer).await?;
        }
        let layers = self.layers_write();
        let reached = Lsn(end_lsn.0.saturating_sub(1));
        // An open layer that begins below means that writers went on meanwhile.
        let complete = layers.in_memory_below(end_lsn).is_none();
        if complete && reached > self.disk_consistent_lsn() {
            self.disk_consistent_lsn.store(reached);
            self.schedule_progress_upload(&layers, reached).map_err(FlushError::Queue)?;
        }
        drop(layers);
        Ok(())
    }

    async fn flush_layer(&self, frozen: Arc<InMemoryLayer>) -> Result<(), FlushError> {
        let _timer = self.operations.start(StorageOperation::LayerFlush);
        let new = self.write_out(&frozen).await?;
        utils::pausable_failpoint!("flush-layer-cancel-after-writing-layer-out-pausable");
        if self.cancel.is_cancelled() {
            return Err(FlushError::Cancelled);
        }
        fail::fail_point!("checkpoint-before-saving-metadata", |_| {
            Err(FlushError::Failpoint("checkpoint-before-saving-metadata"))
        });
        self.publish_flushed(&frozen, new)?;
        utils::pausable_failpoint!("flush-frozen-pausable");
        fail::fail_point!("flush-frozen-exit");
        Ok(())
    }

    /// Writes the delta and makes its name durable.
    async fn write_out(&self, frozen: &Arc<InMemoryLayer>) -> Result<NewLayer, FlushError> {
        let images = self.images_of_long_chains(frozen).await?;
        let layer = Arc::clone(frozen);
        let directory = self.layer_owner.directory.clone();
        let (tenant_id, timeline_id) = (self.tenant_shard_id.tenant_id, self.timeline_id);
        let generation = self.generation;
        let written = tokio::task::spawn_blocking(move || {
            let written =
                layer.write_out(&images, &directory, tenant_id, timeline_id, generation)?;
            let new = NewLayer::new(written);
            if let Err(error) = fs_ext::fsync_dir(directory.as_std_path()) {
                // The file is visible but perhaps not durable; going on would risk to
                // acknowledge what a crash takes back.
                tracing::error!("cannot fsync {directory}: {error}; aborting");
                std::process::abort();
            }
            Ok::<_, WriteOutError>(new)
        });
        match written.await {
            Ok(written) => written.map_err(|error| FlushError::WriteOut(Arc::new(error))),
            Err(_) => Err(FlushError::Cancelled),
        }
    }

    /// Replaces the frozen layer by its file and schedules the uploads, in one critical
    /// section: nobody can see the delta, and delete it again, before its upload is queued.
    fn publish_flushed(
        &self,
        frozen: &Arc<InMemoryLayer>,
        new: NewLayer,
    ) -> Result<(), FlushError> {
        let shard = self.tenant_shard_id.to_index();
        let metadata = LayerFileMetadata::new(new.size_bytes, self.generation, shard);
        let name = new.name.clone();
        let owner = Arc::clone(&self.layer_owner);
        let layer = Layer::created(owner, name.clone(), metadata.clone());
        let path = layer.local_path().to_owned();
        let disk_consistent_lsn = Lsn(name.lsn_range().end.0 - 1);

        let mut layers = self.layers_write();
        layers.finish_flush(frozen, layer);
        new.published();
        self.disk_consistent_lsn.fetch_max(disk_consistent_lsn);
        let schedule = || {
            self.remote_client.schedule_layer_file_upload(name, metadata, path)?;
            self.schedule_progress_upload(&layers, disk_consistent_lsn)
        };
        let scheduled = schedule();
        drop(layers);
        scheduled.map_err(FlushError::Queue)
    }
}
