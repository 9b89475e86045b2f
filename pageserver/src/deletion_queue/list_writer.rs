//! Collects deletions in lists and persists them.
//!
//! A list is on disk before anybody may act on it, so that what a crash interrupts can be taken up
//! again. Until the tenants' generations are known nothing is written: deletions that come earlier wait.

use std::collections::VecDeque;
use std::time::Duration;

use camino::Utf8PathBuf;
use layer_format::DeletionList;
use remote_storage::RemotePath;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    AUTOFLUSH_DELAY, AUTOFLUSH_OBJECTS, LayerDeletions, WriterMessage, blocking, deleter, metrics,
    recovery, validator, write_file,
};

/// Pause before a list that somebody waits for is written again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct ListWriter {
    directory: Utf8PathBuf,
    messages: mpsc::UnboundedReceiver<WriterMessage>,
    validator: mpsc::Sender<validator::Message>,
    deleter: mpsc::Sender<deleter::Message>,
    cancel: CancellationToken,
    pending: DeletionList,
    /// Those who wait for the pending list to be on disk.
    waiters: Vec<oneshot::Sender<()>>,
    /// When the pending list is written without being asked. A trickle of deletions does not put
    /// it off.
    due: Option<Instant>,
    /// Received before the generations were known.
    held_back: Option<VecDeque<WriterMessage>>,
}

impl ListWriter {
    pub(super) fn new(
        directory: Utf8PathBuf,
        messages: mpsc::UnboundedReceiver<WriterMessage>,
        validator: mpsc::Sender<validator::Message>,
        deleter: mpsc::Sender<deleter::Message>,
        cancel: CancellationToken,
    ) -> ListWriter {
        ListWriter {
            directory,
            messages,
            validator,
            deleter,
            cancel,
            pending: DeletionList::new(1),
            waiters: Vec::new(),
            due: None,
            held_back: Some(VecDeque::new()),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            if self.pending.is_empty() && self.waiters.is_empty() {
                self.due = None;
            } else if !self.waiters.is_empty() {
                // Writing failed while somebody waits for it.
                self.due = Some(Instant::now() + RETRY_PAUSE);
            } else if self.due.is_none() {
                self.due = Some(Instant::now() + AUTOFLUSH_DELAY);
            }
            let due = self.due.unwrap_or_else(Instant::now);
            // All branches are cancel-safe: a message that was not received stays in the channel.
            let message = tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep_until(due), if self.due.is_some() => {
                    self.due = None;
                    self.flush().await;
                    continue;
                }
                message = self.messages.recv() => message,
            };
            let Some(message) = message else { return self.flush().await };
            match (&mut self.held_back, message) {
                (Some(_), WriterMessage::Recover(attached)) => {
                    if !self.recover(attached).await {
                        return;
                    }
                    for message in self.held_back.take().unwrap_or_default() {
                        self.handle(message).await;
                    }
                }
                (Some(held_back), message) => held_back.push_back(message),
                (None, message) => self.handle(message).await,
            }
        }
    }

    async fn handle(&mut self, message: WriterMessage) {
        match message {
            WriterMessage::Recover(_) => {
                tracing::debug!("the deletion queue has recovered already");
            }
            WriterMessage::Delete(deletions) if deletions.generation.is_none() => {
                self.delete_without_generation(deletions).await;
            }
            WriterMessage::Delete(deletions) => {
                self.collect(deletions).await;
                if self.pending.len() > AUTOFLUSH_OBJECTS {
                    self.flush().await;
                }
            }
            WriterMessage::Flush(done) => {
                self.waiters.push(done);
                self.flush().await;
            }
            WriterMessage::FlushExecute(done) => {
                self.flush().await;
                self.to_validator(validator::Message::Flush(done)).await;
            }
        }
    }

    async fn collect(&mut self, deletions: LayerDeletions) {
        let LayerDeletions { shard, timeline, generation, mut names } = deletions;
        while let Err(refused) = self.pending.push(shard, timeline, generation, names) {
            // The shard was attached anew: what the earlier attachment wanted is a list of its own.
            names = refused;
            self.flush().await;
            if self.cancel.is_cancelled() {
                return;
            }
            if !self.pending.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Objects of the time before generations: there is nothing to ask about.
    async fn delete_without_generation(&self, deletions: LayerDeletions) {
        let mut list = DeletionList::new(0);
        let LayerDeletions { shard, timeline, generation, names } = deletions;
        if list.push(shard, timeline, generation, names).is_ok() {
            let objects = to_remote_paths(&list);
            // Closed only when the process stops.
            let _ = self.deleter.send(deleter::Message::Delete(objects)).await;
        }
    }

    /// Persists the pending list and hands it on. On failure it stays pending.
    async fn flush(&mut self) {
        if !self.pending.is_empty() {
            let path = self.directory.join(DeletionList::file_name(self.pending.sequence));
            let written = match self.pending.to_json() {
                Ok(json) => {
                    blocking(move || write_file(path, &json)).await.map_err(|e| e.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = written {
                metrics::UNEXPECTED_ERRORS.inc();
                tracing::warn!("Failed to write deletion list, will retry later: {error}");
                return;
            }
            tracing::info!(
                "Stored deletion list {:016x} ({} objects)",
                self.pending.sequence,
                self.pending.len()
            );
            let next = DeletionList::new(self.pending.sequence + 1);
            let list = std::mem::replace(&mut self.pending, next);
            self.to_validator(validator::Message::List(list)).await;
        }
        for waiter in self.waiters.drain(..) {
            // The waiter may have given up.
            let _ = waiter.send(());
        }
    }

    /// Takes up what the last process left. False if that is impossible, which stops the queue:
    /// lists that cannot be read must not be overwritten.
    async fn recover(
        &mut self,
        attached: std::collections::HashMap<
            pageserver_api::shard::TenantShardId,
            utils::Generation,
        >,
    ) -> bool {
        let directory = self.directory.clone();
        let recovered = match blocking(move || recovery::read(&directory, &attached)).await {
            Ok(recovered) => recovered,
            Err(error) => {
                metrics::UNEXPECTED_ERRORS.inc();
                tracing::error!("the deletion queue does not work: {error}");
                return false;
            }
        };
        tracing::info!("Replaying {} deletion lists", recovered.lists.len());
        self.pending = DeletionList::new(recovered.next_sequence);
        for list in recovered.lists {
            metrics::SUBMITTED.inc_by(list.len() as u64);
            self.to_validator(validator::Message::List(list)).await;
        }
        true
    }

    async fn to_validator(&self, message: validator::Message) {
        // Closed only when the process stops; what is on disk is taken up by the next.
        let _ = self.validator.send(message).await;
    }
}

/// The keys of a list. Names were checked when the list was made or read.
pub(super) fn to_remote_paths(list: &DeletionList) -> Vec<RemotePath> {
    let paths = list.remote_paths().into_iter().map(RemotePath::new);
    paths
        .filter_map(|path| match path {
            Ok(path) => Some(path),
            Err(error) => {
                metrics::UNEXPECTED_ERRORS.inc();
                tracing::error!("cannot delete an object: {error}");
                None
            }
        })
        .collect()
}
