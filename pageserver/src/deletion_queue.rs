//! Deletes objects that no index names any more, if we are still the ones to say so.
//!
//! A pageserver that was replaced does not know it: it may compact away a layer that the index of its
//! successor still names. So deletions are collected in lists ([`list_writer`]), the lists are persisted, the
//! control plane is asked whether the generation that wanted them is still current ([`validator`]), and
//! only then are they executed ([`deleter`]). What a crash leaves behind is taken up by the next
//! process ([`recovery`]). For the same reason safekeepers are told what is in remote storage
//! only after the same question.
//!
//! The front never blocks: its channel is unbounded, and holds names only.

mod deleter;
mod list_writer;
mod metrics;
mod recovery;
#[cfg(test)]
mod tests;
mod validator;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use layer_format::{LayerFileMetadata, LayerName};
use pageserver_api::shard::TenantShardId;
use remote_storage::{GenericRemoteStorage, RemotePath};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utils::lsn::AtomicLsn;
use utils::{Generation, Lsn, TimelineId};

use crate::control_plane::Authority;

pub use metrics::preinitialize as preinitialize_metrics;

/// Messages that may wait between the workers.
const CHANNEL_CAPACITY: usize = 16;
/// Objects collected before a list is written, or validated, without being asked.
const AUTOFLUSH_OBJECTS: usize = 16384;
/// How long what was collected waits for more.
pub(crate) const AUTOFLUSH_DELAY: Duration = Duration::from_secs(10);

/// The queue has stopped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("deletion queue is shutting down")]
pub struct DeletionError;

/// What the list writer is told.
enum WriterMessage {
    /// Tenants are attached in these generations; what the last process left can be taken up.
    Recover(HashMap<TenantShardId, Generation>),
    Delete(LayerDeletions),
    /// Persist; then answer.
    Flush(oneshot::Sender<()>),
    /// Persist, validate and execute; then answer, if anybody waits.
    FlushExecute(Option<oneshot::Sender<()>>),
}

/// Layers of one timeline that no index of `generation` names any more.
struct LayerDeletions {
    shard: TenantShardId,
    timeline: TimelineId,
    generation: Generation,
    /// Names of objects, with the suffix of the generation that wrote them.
    names: Vec<String>,
}

/// A position that safekeepers may be told once the generation was validated.
struct PendingLsn {
    lsn: Lsn,
    visible: Arc<AtomicLsn>,
}

/// Positions of one shard, all found in one generation.
struct ShardLsns {
    generation: Generation,
    timelines: HashMap<TimelineId, PendingLsn>,
}

/// Positions of every shard that wait for validation.
type PendingLsns = Arc<Mutex<HashMap<TenantShardId, ShardLsns>>>;

/// Hands work to the queue. Cheap to clone.
#[derive(Clone)]
pub struct DeletionQueueClient {
    writer: mpsc::UnboundedSender<WriterMessage>,
    deleter: mpsc::Sender<deleter::Message>,
    lsns: PendingLsns,
    /// Without anybody to ask every generation is current.
    is_validated: bool,
}

impl DeletionQueueClient {
    /// Says in which generations tenants are attached after the start. Before that nothing is
    /// persisted or executed. Only the first call counts.
    pub fn recover(
        &self,
        attached: HashMap<TenantShardId, Generation>,
    ) -> Result<(), DeletionError> {
        self.send(WriterMessage::Recover(attached))
    }

    /// Deletes layers of a timeline when it was confirmed that `generation` is current. The index
    /// that does not name them any more must have been uploaded.
    pub fn push_layers(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        generation: Generation,
        layers: &[(LayerName, LayerFileMetadata)],
    ) -> Result<(), DeletionError> {
        if layers.is_empty() {
            return Ok(());
        }
        metrics::SUBMITTED.inc_by(layers.len() as u64);
        let names: Vec<String> = layers
            .iter()
            .map(|(name, metadata)| name.remote_object_name(metadata.generation))
            .collect();
        self.send(WriterMessage::Delete(LayerDeletions { shard, timeline, generation, names }))
    }

    /// Deletes objects soon and without validation: for what no generation will want again, such
    /// as a deleted timeline. Absent ones are fine.
    pub async fn push_immediate(&self, objects: Vec<RemotePath>) -> Result<(), DeletionError> {
        if objects.is_empty() {
            return Ok(());
        }
        metrics::SUBMITTED.inc_by(objects.len() as u64);
        self.deleter.send(deleter::Message::Delete(objects)).await.map_err(|_| DeletionError)
    }

    /// Returns when everything pushed with [`push_immediate`](Self::push_immediate) is gone.
    pub async fn flush_immediate(&self) -> Result<(), DeletionError> {
        let (done, waiter) = oneshot::channel();
        self.deleter.send(deleter::Message::Flush(done)).await.map_err(|_| DeletionError)?;
        waiter.await.map_err(|_| DeletionError)
    }

    /// Returns when everything pushed before is persisted: it will be deleted, whatever happens to
    /// this process, unless its generation turns out to be stale.
    pub async fn flush(&self) -> Result<(), DeletionError> {
        let (done, waiter) = oneshot::channel();
        self.send(WriterMessage::Flush(done))?;
        waiter.await.map_err(|_| DeletionError)
    }

    /// Returns when everything pushed before has been deleted, or found stale.
    pub async fn flush_execute(&self) -> Result<(), DeletionError> {
        let (done, waiter) = oneshot::channel();
        self.send(WriterMessage::FlushExecute(Some(done)))?;
        waiter.await.map_err(|_| DeletionError)
    }

    /// Asks for execution while our generations are still current, and does not wait.
    pub fn flush_advisory(&self) {
        if self.send(WriterMessage::FlushExecute(None)).is_err() {
            tracing::debug!("the deletion queue has stopped; what it holds is persisted");
        }
    }

    /// Moves `visible` up to `lsn` when it was confirmed that `generation` is current.
    pub fn update_remote_consistent_lsn(
        &self,
        shard: TenantShardId,
        timeline: TimelineId,
        generation: Generation,
        lsn: Lsn,
        visible: &Arc<AtomicLsn>,
    ) {
        if !self.is_validated || generation.is_none() {
            visible.fetch_max(lsn);
            return;
        }
        let mut lsns = self.lsns.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || ShardLsns { generation, timelines: HashMap::new() };
        let pending = lsns.entry(shard).or_insert_with(new);
        if pending.generation > generation {
            // A late word of an attachment that has been replaced on this very node.
            return;
        }
        if pending.generation < generation {
            *pending = new();
        }
        let visible = Arc::clone(visible);
        pending.timelines.insert(timeline, PendingLsn { lsn, visible });
    }

    fn send(&self, message: WriterMessage) -> Result<(), DeletionError> {
        self.writer.send(message).map_err(|_| DeletionError)
    }
}

/// The queue's workers.
pub struct DeletionQueue {
    writer: list_writer::ListWriter,
    validator: validator::Validator,
    deleter: deleter::Deleter,
}

impl DeletionQueue {
    /// A queue, and the handle to feed it. Somebody must [`run`](DeletionQueue::run) it. `directory`
    /// holds its files; it is made if absent.
    pub fn new(
        storage: GenericRemoteStorage,
        authority: Option<Arc<dyn Authority>>,
        directory: Utf8PathBuf,
        cancel: CancellationToken,
    ) -> (DeletionQueue, DeletionQueueClient) {
        let (to_writer, from_clients) = mpsc::unbounded_channel();
        let (to_validator, from_writer) = mpsc::channel(CHANNEL_CAPACITY);
        let (to_deleter, deletions) = mpsc::channel(CHANNEL_CAPACITY);
        let lsns = PendingLsns::default();
        let client = DeletionQueueClient {
            writer: to_writer,
            deleter: to_deleter.clone(),
            lsns: Arc::clone(&lsns),
            is_validated: authority.is_some(),
        };
        let writer = list_writer::ListWriter::new(
            directory.clone(),
            from_clients,
            to_validator,
            to_deleter.clone(),
            cancel.clone(),
        );
        let validator = validator::Validator::new(
            directory,
            authority,
            from_writer,
            to_deleter,
            lsns,
            cancel.clone(),
        );
        let deleter = deleter::Deleter::new(storage, deletions, cancel);
        (DeletionQueue { writer, validator, deleter }, client)
    }

    /// Works until cancelled.
    pub async fn run(self) {
        tokio::join!(self.writer.run(), self.validator.run(), self.deleter.run());
    }
}

/// Runs file work on the blocking pool. Only the end of the process interrupts it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(FileError {
            action: "work on",
            path: Utf8PathBuf::from("deletion"),
            reason: failure.to_string(),
        }),
    }
}

/// A file of the queue could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {reason}")]
struct FileError {
    action: &'static str,
    path: Utf8PathBuf,
    reason: String,
}

/// Writes a file so that a crash leaves either the old or the new content. Blocking.
fn write_file(path: Utf8PathBuf, bytes: &[u8]) -> Result<(), FileError> {
    let temp = Utf8PathBuf::from(format!("{path}.{}", recovery::TEMP_EXTENSION));
    utils::fs_ext::write_crash_safe_via(path.as_std_path(), temp.as_std_path(), bytes).map_err(
        |error| FileError {
            action: error.operation,
            path: path.clone(),
            reason: error.source.to_string(),
        },
    )
}
