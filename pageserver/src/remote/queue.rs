//! The upload queue: what may run now, and what the index will say afterwards.
//!
//! No I/O, no async: the client feeds it and executes what it hands out. Order is strictly first
//! in, first out: if the head may not start yet, nothing behind it does. Layers scheduled together
//! therefore run in parallel, an index waits for the layers before it, and deletions wait for the
//! index before them.

use std::collections::{HashMap, VecDeque};

use camino::Utf8PathBuf;
use layer_format::{IndexPart, LayerFileMetadata, LayerName, TimelineMetadata};
use tokio::sync::oneshot;
use utils::Lsn;

/// The queue does not take operations.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueueError {
    /// It was not started.
    #[error("queue is in state Uninitialized")]
    Uninitialized,
    /// It was stopped.
    #[error("queue is in state Stopped")]
    Stopped,
    /// It is being drained for the last time.
    #[error("queue is shutting down")]
    ShuttingDown,
}

/// A layer file to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUpload {
    /// Its name.
    pub name: LayerName,
    /// Its size, and the generation and shard that make up its remote name.
    pub metadata: LayerFileMetadata,
    /// Where it is.
    pub local_path: Utf8PathBuf,
}

/// One operation.
#[derive(Debug)]
pub enum UploadOp {
    /// Upload a layer.
    Layer(LayerUpload),
    /// Upload an index: the state of the timeline as of when this was scheduled.
    Index(Box<IndexPart>),
    /// Delete layers that no index names any more.
    Delete(Vec<(LayerName, LayerFileMetadata)>),
    /// Tell somebody that everything before has been done.
    Barrier(oneshot::Sender<()>),
    /// Let nothing run any more.
    Shutdown,
}

/// What an operation is, for deciding what may run beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpKind {
    Layer,
    Index,
    Delete,
}

/// An operation that may run now.
#[derive(Debug)]
pub enum Ready {
    /// Execute it, then call [`UploadQueue::complete`] with the id.
    Task(u64, UploadOp),
    /// Everything scheduled before the shutdown is done.
    Drained,
}

/// The index that was uploaded last.
#[derive(Clone, Debug)]
struct Clean {
    index: IndexPart,
    /// Task that uploaded it; `None` when it was downloaded.
    task: Option<u64>,
}

/// A queue in operation.
#[derive(Debug)]
pub struct Running {
    /// The index as it will be when everything scheduled has been done.
    pub dirty: IndexPart,
    clean: Option<Clean>,
    changes_since_index: u64,
    queued: VecDeque<UploadOp>,
    in_progress: HashMap<u64, OpKind>,
    next_task: u64,
    shutting_down: bool,
    drained: bool,
}

/// The queue.
#[derive(Debug)]
pub enum UploadQueue {
    /// Not started: nothing is known about the timeline.
    Uninitialized,
    /// Takes operations.
    Running(Box<Running>),
    /// Takes none. Keeps the index for the deletion of the timeline, if there was one.
    Stopped(Option<Box<IndexPart>>),
}

impl UploadQueue {
    /// Starts with what is in remote storage: an index, or nothing yet.
    pub fn start(&mut self, dirty: IndexPart, is_uploaded: bool) {
        let clean = is_uploaded.then(|| Clean { index: dirty.clone(), task: None });
        *self = UploadQueue::Running(Box::new(Running {
            dirty,
            clean,
            changes_since_index: 0,
            queued: VecDeque::new(),
            in_progress: HashMap::new(),
            next_task: 1,
            shutting_down: false,
            drained: false,
        }));
    }

    /// The queue, if it takes operations.
    pub fn running(&mut self) -> Result<&mut Running, QueueError> {
        match self {
            UploadQueue::Uninitialized => Err(QueueError::Uninitialized),
            UploadQueue::Stopped(_) => Err(QueueError::Stopped),
            UploadQueue::Running(running) if running.shutting_down => Err(QueueError::ShuttingDown),
            UploadQueue::Running(running) => Ok(running),
        }
    }

    /// The queue, also while it is being drained.
    pub fn running_or_draining(&mut self) -> Option<&mut Running> {
        match self {
            UploadQueue::Running(running) => Some(running),
            UploadQueue::Uninitialized | UploadQueue::Stopped(_) => None,
        }
    }

    /// The index that was uploaded last.
    pub fn clean(&self) -> Option<&IndexPart> {
        match self {
            UploadQueue::Running(running) => running.clean.as_ref().map(|clean| &clean.index),
            UploadQueue::Uninitialized | UploadQueue::Stopped(_) => None,
        }
    }

    /// Stops taking operations; drops what is queued (waiters see their barrier dropped).
    pub fn stop(&mut self) -> Vec<UploadOp> {
        match std::mem::replace(self, UploadQueue::Stopped(None)) {
            UploadQueue::Uninitialized => Vec::new(),
            UploadQueue::Running(running) => {
                let Running { dirty, queued, .. } = *running;
                *self = UploadQueue::Stopped(Some(Box::new(dirty)));
                queued.into()
            }
            UploadQueue::Stopped(index) => {
                *self = UploadQueue::Stopped(index);
                Vec::new()
            }
        }
    }
}

impl Running {
    /// Adds a layer to the index and schedules its upload.
    pub fn push_layer(&mut self, upload: LayerUpload) {
        self.dirty.layer_metadata.insert(upload.name.clone(), upload.metadata.clone());
        self.changes_since_index += 1;
        self.queued.push_back(UploadOp::Layer(upload));
    }

    /// Replaces the metadata of the index, with the logical size there if it is known, and schedules
    /// its upload.
    ///
    /// # Panics
    /// When the disk consistent LSN would go back: that would make remote storage forget data that
    /// was reported as stored.
    pub fn push_metadata(&mut self, metadata: &TimelineMetadata, logical_size: Option<u64>) {
        let before = self.dirty.metadata.disk_consistent_lsn;
        assert!(
            metadata.disk_consistent_lsn >= before,
            "disk_consistent_lsn must not go back: {} after {before}",
            metadata.disk_consistent_lsn,
        );
        // Content at an LSN never changes, so a size known before stays right.
        let known = self.logical_size_at(metadata.disk_consistent_lsn);
        self.dirty.logical_size = logical_size.or(known);
        self.dirty.metadata = metadata.clone();
        self.dirty.disk_consistent_lsn = metadata.disk_consistent_lsn;
        self.push_index();
    }

    /// The logical size in bytes at `lsn`, if the index is to have it.
    pub fn logical_size_at(&self, lsn: Lsn) -> Option<u64> {
        self.dirty.logical_size.filter(|_| self.dirty.metadata.disk_consistent_lsn == lsn)
    }

    /// Lets the next index have the logical size at `lsn`, if it is the index of that LSN.
    pub fn note_logical_size(&mut self, lsn: Lsn, bytes: u64) {
        if self.dirty.metadata.disk_consistent_lsn == lsn {
            self.dirty.logical_size = Some(bytes);
        }
    }

    /// Schedules an upload of the index if the last one lacks the logical size.
    pub fn push_index_if_size_is_new(&mut self) {
        let uploaded = self.clean.as_ref().map(|clean| clean.index.logical_size);
        let is_new = uploaded.is_some_and(|uploaded| uploaded != self.dirty.logical_size);
        if is_new {
            self.push_index();
        }
    }

    /// Schedules an upload of the index as it is now. One that waits with nothing behind it is
    /// replaced: whatever it was to record, the new one records, too.
    pub fn push_index(&mut self) {
        self.changes_since_index = 0;
        let index = UploadOp::Index(Box::new(self.dirty.clone()));
        match self.queued.back_mut() {
            Some(waiting @ UploadOp::Index(_)) => *waiting = index,
            Some(_) | None => self.queued.push_back(index),
        }
    }

    /// Schedules an upload of the index if layers were added or removed since the last one.
    pub fn push_index_if_changed(&mut self) {
        if self.changes_since_index > 0 {
            self.push_index();
        }
    }

    /// Removes layers from the index; returns those it had. Names it did not have were never
    /// uploaded.
    pub fn unlink(&mut self, names: &[LayerName]) -> Vec<(LayerName, LayerFileMetadata)> {
        let mut unlinked = Vec::new();
        for name in names {
            match self.dirty.layer_metadata.remove(name) {
                Some(metadata) => unlinked.push((name.clone(), metadata)),
                None => {
                    tracing::info!(
                        "Deleting layer {name} not found in latest_files list, never uploaded?"
                    );
                }
            }
        }
        self.changes_since_index += unlinked.len() as u64;
        unlinked
    }

    /// Schedules the deletion of layers that were unlinked before.
    pub fn push_delete(&mut self, layers: Vec<(LayerName, LayerFileMetadata)>) {
        if !layers.is_empty() {
            self.queued.push_back(UploadOp::Delete(layers));
        }
    }

    /// Schedules a message for when everything before has been done.
    pub fn push_barrier(&mut self) -> oneshot::Receiver<()> {
        let (done, waiter) = oneshot::channel();
        self.queued.push_back(UploadOp::Barrier(done));
        waiter
    }

    /// Lets what is queued run, then nothing more. Repeated calls have no further effect.
    pub fn push_shutdown(&mut self) {
        if !self.shutting_down {
            self.shutting_down = true;
            self.queued.push_back(UploadOp::Shutdown);
        }
    }

    /// Takes the head of the queue if it may start. Barriers are resolved on the way.
    pub fn next_ready(&mut self) -> Option<Ready> {
        loop {
            let idle = self.in_progress.is_empty();
            let kind = match self.queued.front()? {
                UploadOp::Layer(_) => OpKind::Layer,
                UploadOp::Index(_) if idle => OpKind::Index,
                UploadOp::Delete(_)
                    if self.in_progress.values().all(|kind| *kind == OpKind::Delete) =>
                {
                    OpKind::Delete
                }
                UploadOp::Barrier(_) if idle => {
                    if let Some(UploadOp::Barrier(done)) = self.queued.pop_front() {
                        // The waiter may have given up.
                        let _ = done.send(());
                    }
                    continue;
                }
                UploadOp::Shutdown if idle => {
                    // Stays at the head, so that nothing after it runs.
                    let first = !self.drained;
                    self.drained = true;
                    return first.then_some(Ready::Drained);
                }
                UploadOp::Index(_)
                | UploadOp::Delete(_)
                | UploadOp::Barrier(_)
                | UploadOp::Shutdown => return None,
            };
            let op = self.queued.pop_front()?;
            let id = self.next_task;
            self.next_task += 1;
            self.in_progress.insert(id, kind);
            return Some(Ready::Task(id, op));
        }
    }

    /// Records that a task has ended. For an index, returns the LSN up to which the timeline is
    /// now in remote storage.
    ///
    /// # Panics
    /// When an older index would replace a newer one; the order above makes that impossible.
    pub fn complete(&mut self, id: u64, uploaded: Option<IndexPart>) -> Option<Lsn> {
        self.in_progress.remove(&id);
        let index = uploaded?;
        let previous = self.clean.as_ref().and_then(|clean| clean.task);
        assert!(previous < Some(id), "index uploads must complete in order");
        let lsn = index.metadata.disk_consistent_lsn;
        self.clean = Some(Clean { index, task: Some(id) });
        Some(lsn)
    }

    /// Number of operations that have not started.
    pub fn queued_len(&self) -> usize {
        self.queued.len()
    }

    /// The operations that have not started, from a position on.
    pub fn queued_from(&self, position: usize) -> impl Iterator<Item = &UploadOp> {
        self.queued.iter().skip(position)
    }

    /// Whether the index still names a layer.
    pub fn is_linked(&self, name: &LayerName) -> bool {
        self.dirty.layer_metadata.contains_key(name)
    }
}

#[cfg(test)]
mod tests;
