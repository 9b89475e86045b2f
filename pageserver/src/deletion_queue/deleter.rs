//! Executes deletions, in batches, retrying until it succeeds or the process stops.

use std::time::Duration;

use remote_storage::{GenericRemoteStorage, RemotePath, RemoteStorageError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utils::backoff;

use super::{AUTOFLUSH_DELAY, metrics};

/// Most objects deleted by one request.
const MAX_BATCH: usize = 1000;
/// Failures before the log says WARN, and before it says that it goes on trying.
const WARN_THRESHOLD: u32 = 3;
const MAX_RETRIES: u32 = 10;
/// Pause between rounds of retries.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Delete(Vec<RemotePath>),
    /// Answer when everything before is gone.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Deleter {
    storage: GenericRemoteStorage,
    messages: mpsc::Receiver<Message>,
    cancel: CancellationToken,
    pending: Vec<RemotePath>,
}

impl Deleter {
    pub(super) fn new(
        storage: GenericRemoteStorage,
        messages: mpsc::Receiver<Message>,
        cancel: CancellationToken,
    ) -> Deleter {
        Deleter { storage, messages, cancel, pending: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            // All branches are cancel-safe: a message that was not received stays in the channel.
            let message = tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(AUTOFLUSH_DELAY), if !self.pending.is_empty() => {
                    self.execute(0).await;
                    continue;
                }
                message = self.messages.recv() => message,
            };
            match message {
                Some(Message::Delete(objects)) => {
                    self.pending.extend(objects);
                    self.execute(MAX_BATCH).await;
                }
                Some(Message::Flush(done)) => {
                    self.execute(0).await;
                    if !self.cancel.is_cancelled() {
                        // The waiter may have given up.
                        let _ = done.send(());
                    }
                }
                None => return self.execute(0).await,
            }
        }
    }

    /// Deletes until fewer than a batch, or than `keep`, are left.
    async fn execute(&mut self, keep: usize) {
        while !self.pending.is_empty() && self.pending.len() >= keep {
            let start = self.pending.len().saturating_sub(MAX_BATCH);
            let batch = self.pending.split_off(start);
            if !self.delete(&batch).await {
                return;
            }
            metrics::EXECUTED.inc_by(batch.len() as u64);
            if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
                tracing::info!("Executed deletion batch {first}..{last}");
            }
        }
    }

    /// False if the process stops.
    async fn delete(&self, batch: &[RemotePath]) -> bool {
        loop {
            let outcome = backoff::retry(
                || self.attempt(batch),
                |_| false,
                WARN_THRESHOLD,
                MAX_RETRIES,
                "executing deletion batch",
                &self.cancel,
            )
            .await;
            match outcome {
                Some(Ok(())) => return true,
                Some(Err(error)) => {
                    tracing::warn!("DeleteObjects request failed: {error}, will continue trying");
                }
                None => return false,
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND_PAUSE) => {}
                () = self.cancel.cancelled() => return false,
            }
        }
    }

    async fn attempt(&self, batch: &[RemotePath]) -> Result<(), RemoteStorageError> {
        fail::fail_point!("deletion-queue-before-execute", |_| {
            metrics::REMOTE_ERRORS.with_label_values(&["failpoint"]).inc();
            let name = "failpoint: deletion-queue-before-execute".to_owned();
            Err(RemoteStorageError::Simulated(name))
        });
        let result = self.storage.delete_objects(batch, &self.cancel).await;
        if result.is_err() {
            metrics::REMOTE_ERRORS.with_label_values(&["execute"]).inc();
        }
        result
    }
}
