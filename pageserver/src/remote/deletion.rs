//! Deletes objects that no index names any more.
//!
//! Deletions are handed over only after the index that stopped naming the objects has been
//! uploaded. They are executed in batches in the background. They are not persisted: a crash
//! leaks the objects of the last moments, it never deletes what is needed. Generations are given
//! by whoever drives this node (see docs/decisions), so there is nobody to validate them with.

use std::time::Duration;

use remote_storage::{GenericRemoteStorage, RemotePath};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utils::backoff;

use super::metrics::{
    DELETION_QUEUE_EXECUTED, DELETION_QUEUE_REMOTE_ERRORS, DELETION_QUEUE_SUBMITTED,
};

/// Messages that may wait. A sender waits for room.
const CHANNEL_CAPACITY: usize = 64;
/// Most objects deleted by one request.
const MAX_BATCH: usize = 1000;
/// How long an incomplete batch waits for more.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;

/// The queue has stopped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("deletion queue is shutting down")]
pub struct DeletionError;

enum Message {
    Delete(Vec<RemotePath>),
    Flush(oneshot::Sender<()>),
}

/// Hands objects to the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeletionQueueClient {
    sender: mpsc::Sender<Message>,
}

impl DeletionQueueClient {
    /// Deletes the objects soon. Absent ones are fine.
    pub async fn push(&self, objects: Vec<RemotePath>) -> Result<(), DeletionError> {
        if objects.is_empty() {
            return Ok(());
        }
        DELETION_QUEUE_SUBMITTED.inc_by(objects.len() as u64);
        self.sender.send(Message::Delete(objects)).await.map_err(|_| DeletionError)
    }

    /// Returns when everything pushed before has been deleted.
    pub async fn flush(&self) -> Result<(), DeletionError> {
        let (done, waiter) = oneshot::channel();
        self.sender.send(Message::Flush(done)).await.map_err(|_| DeletionError)?;
        waiter.await.map_err(|_| DeletionError)
    }
}

/// The queue's worker.
pub struct DeletionQueue {
    receiver: mpsc::Receiver<Message>,
    storage: GenericRemoteStorage,
    cancel: CancellationToken,
    batch: Vec<RemotePath>,
}

impl DeletionQueue {
    /// A queue, and the handle to feed it. Somebody must [`run`](DeletionQueue::run) it.
    pub fn new(
        storage: GenericRemoteStorage,
        cancel: CancellationToken,
    ) -> (DeletionQueue, DeletionQueueClient) {
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let queue = DeletionQueue { receiver, storage, cancel, batch: Vec::new() };
        (queue, DeletionQueueClient { sender })
    }

    /// Deletes until cancelled or until no client is left.
    pub async fn run(mut self) {
        loop {
            // All branches are cancel-safe: a message that was not received stays in the channel.
            let message = tokio::select! {
                () = self.cancel.cancelled() => return,
                message = self.receiver.recv() => message,
                () = tokio::time::sleep(MAX_DELAY), if !self.batch.is_empty() => {
                    self.execute().await;
                    continue;
                }
            };
            match message {
                Some(Message::Delete(objects)) => {
                    self.batch.extend(objects);
                    if self.batch.len() >= MAX_BATCH {
                        self.execute().await;
                    }
                }
                Some(Message::Flush(done)) => {
                    self.execute().await;
                    // The waiter may have given up.
                    let _ = done.send(());
                }
                None => return self.execute().await,
            }
        }
    }

    /// Deletes what was collected, retrying until it succeeds or the process stops.
    async fn execute(&mut self) {
        while !self.batch.is_empty() {
            let size = self.batch.len().min(MAX_BATCH);
            let objects: Vec<RemotePath> = self.batch.drain(..size).collect();
            let delete = || async {
                utils::pausable_failpoint!("deletion-queue-before-execute-pausable");
                let result = self.storage.delete_objects(&objects, &self.cancel).await;
                if result.is_err() {
                    DELETION_QUEUE_REMOTE_ERRORS.with_label_values(&["execute"]).inc();
                }
                result
            };
            let outcome = backoff::retry(
                delete,
                |_| false,
                WARN_THRESHOLD,
                u32::MAX,
                "executing deletion batch",
                &self.cancel,
            )
            .await;
            let Some(Ok(())) = outcome else { return };
            DELETION_QUEUE_EXECUTED.inc_by(size as u64);
            if let (Some(first), Some(last)) = (objects.first(), objects.last()) {
                tracing::info!("Executed deletion batch {first}..{last}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
