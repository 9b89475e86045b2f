//! The write path: one writer at a time fills the open layer, and freezes it when it is time.

use std::sync::Arc;
use std::time::Instant;

use pageserver_api::{Key, Value};
use tokio::sync::MutexGuard;
use utils::Lsn;

use super::{Timeline, WriteError};
use crate::context::RequestContext;
use crate::keymap::logical_size::CurrentLogicalSize;
use crate::layers::InMemoryLayer;

/// What the writer remembers between writes.
pub(super) struct WriteState {
    /// Highest LSN written to the open layer.
    max_lsn: Option<Lsn>,
    /// End of the last frozen layer.
    last_freeze_at: Lsn,
    /// When that was.
    last_freeze_time: Instant,
}

impl WriteState {
    pub(super) fn new(last_freeze_at: Lsn) -> WriteState {
        WriteState { max_lsn: None, last_freeze_at, last_freeze_time: Instant::now() }
    }
}

/// The right to write to a timeline. There is one at a time.
pub struct TimelineWriter<'a> {
    timeline: &'a Timeline,
    state: MutexGuard<'a, WriteState>,
}

impl Timeline {
    /// Waits for the right to write.
    pub async fn writer(self: &Arc<Self>) -> TimelineWriter<'_> {
        self.ensure_flush_loop();
        TimelineWriter { timeline: self, state: self.write_state.lock().await }
    }

    /// The right to write, unless somebody has it.
    pub(super) fn try_writer(self: &Arc<Self>) -> Option<TimelineWriter<'_>> {
        let state = self.write_state.try_lock().ok()?;
        Some(TimelineWriter { timeline: self, state })
    }
}

impl TimelineWriter<'_> {
    /// The timeline written to.
    pub fn timeline(&self) -> &Timeline {
        self.timeline
    }

    /// Writes values, which must ascend in LSN. They become visible with
    /// [`Self::finish_write`].
    pub async fn put_batch(
        &mut self,
        batch: Vec<(Key, Lsn, Value)>,
        _ctx: &RequestContext,
    ) -> Result<(), WriteError> {
        let (Some((_, first, _)), Some((_, last, _))) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        let (first_lsn, last_lsn) = (*first, *last);
        if self.timeline.cancel.is_cancelled() {
            return Err(WriteError::Cancelled);
        }
        let batch_bytes: u64 = batch.iter().map(|(_, _, value)| value_size(value)).sum();
        self.roll_if_needed(first_lsn, batch_bytes);
        let layer = self.open_layer(first_lsn)?;
        layer.put_batch(&batch).map_err(|source| self.timeline.open_layer_error(source))?;
        let max_lsn = self.state.max_lsn.map_or(last_lsn, |max| max.max(last_lsn));
        self.state.max_lsn = Some(max_lsn);
        Ok(())
    }

    /// Makes everything up to `lsn` visible. A value that is not ahead changes nothing.
    pub fn finish_write(&self, lsn: Lsn) {
        self.timeline.last_record.advance(lsn);
    }

    /// Ends the open layer if it is large, old or long, unless a write at `lsn` continues it.
    fn roll_if_needed(&mut self, lsn: Lsn, incoming_bytes: u64) {
        let Some(max_lsn) = self.state.max_lsn.filter(|max_lsn| *max_lsn < lsn) else { return };
        let open = self.timeline.layers_read().open_layer().cloned();
        let Some(layer) = open else { return };
        if self.must_roll(&layer, lsn, incoming_bytes) {
            self.freeze_at(max_lsn + 1);
        }
    }

    /// The roll rules.
    fn must_roll(&self, layer: &InMemoryLayer, lsn: Lsn, incoming_bytes: u64) -> bool {
        let conf = &self.timeline.tenant_conf.load().effective;
        let shards = u64::from(self.timeline.shard_identity.count.count());
        // LSNs advance with the whole tenant, of which a shard sees its share.
        let distance = lsn.saturating_sub(self.state.last_freeze_at);
        let projected_bytes = layer.size_bytes() + incoming_bytes;
        !layer.is_empty()
            && (distance >= conf.checkpoint_distance.saturating_mul(shards)
                || projected_bytes >= conf.checkpoint_distance
                || (distance > 0 && layer.opened_at().elapsed() >= conf.checkpoint_timeout))
    }

    /// Applies the roll rules while nothing is being written.
    pub(super) fn roll_idle(&mut self) {
        let lsn = self.timeline.last_record_lsn() + 1;
        if self.state.max_lsn.is_some() {
            self.roll_if_needed(lsn, 0);
            return;
        }
        // Nothing was written here, but WAL went by: let the consistent LSN follow, or
        // safekeepers would keep that WAL for us.
        let timeout = self.timeline.tenant_conf.load().effective.checkpoint_timeout;
        let behind = self.timeline.last_record_lsn() > self.timeline.disk_consistent_lsn();
        if behind && self.state.last_freeze_time.elapsed() >= timeout {
            self.freeze();
        }
    }

    /// Ends the open layer, if there is one, after the last record. Returns the number of the
    /// flush request that covers it.
    pub(super) fn freeze(&mut self) -> u64 {
        let last_record = self.timeline.last_record_lsn();
        let written = self.state.max_lsn.unwrap_or(last_record);
        self.freeze_at(last_record.max(written) + 1)
    }

    fn freeze_at(&mut self, end_lsn: Lsn) -> u64 {
        let mut layers = self.timeline.layers_write();
        if !layers.freeze(end_lsn) {
            layers.skip_to(end_lsn);
        }
        if let CurrentLogicalSize::Exact(bytes) = self.timeline.logical_size.current() {
            layers.note_logical_size(Lsn(end_lsn.0 - 1), bytes);
        }
        drop(layers);
        self.state.max_lsn = None;
        self.state.last_freeze_at = end_lsn;
        self.state.last_freeze_time = Instant::now();
        self.timeline.flush.request(end_lsn)
    }

    fn open_layer(&mut self, lsn: Lsn) -> Result<Arc<InMemoryLayer>, WriteError> {
        let timeline = self.timeline;
        let (open, start_lsn) = {
            let layers = timeline.layers_read();
            (layers.open_layer().cloned(), layers.next_open_layer_at())
        };
        let floor = open.as_ref().map_or(start_lsn, |layer| layer.start_lsn());
        if lsn < floor {
            return Err(WriteError::Backwards { lsn, floor });
        }
        if let Some(layer) = open {
            return Ok(layer);
        }
        let layer = InMemoryLayer::create(&timeline.layer_owner.directory, start_lsn);
        let layer = Arc::new(layer.map_err(|source| timeline.open_layer_error(source))?);
        // We hold the right to write, so nobody else opened one meanwhile.
        timeline.layers_write().set_open(Arc::clone(&layer));
        Ok(layer)
    }
}

impl Timeline {
    fn open_layer_error(&self, source: std::io::Error) -> WriteError {
        WriteError::OpenLayer { directory: self.layer_owner.directory.clone(), source }
    }
}

/// About the bytes a value takes in the open layer.
fn value_size(value: &Value) -> u64 {
    match value {
        Value::Image(image) => image.len() as u64,
        Value::WalRecord(pageserver_api::WalRecord::Postgres { record, .. }) => record.len() as u64,
        Value::WalRecord(_) => 32,
    }
}
