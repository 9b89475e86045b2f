//! Asks whether the generations that want deletions, or found positions, are still current.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use camino::Utf8PathBuf;
use layer_format::deletion_list::DELETION_HEADER_NAME;
use layer_format::{DeletionHeader, DeletionList};
use pageserver_api::shard::TenantShardId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utils::Generation;

use super::list_writer::to_remote_paths;
use super::{
    AUTOFLUSH_DELAY, AUTOFLUSH_OBJECTS, FileError, PendingLsns, ShardLsns, blocking, deleter,
    metrics, write_file,
};
use crate::control_plane::Authority;

pub(super) enum Message {
    /// A list that is on disk.
    List(DeletionList),
    /// Validate and execute everything before; then answer, if anybody waits.
    Flush(Option<oneshot::Sender<()>>),
}

/// The process is stopping.
struct Stopped;

pub(super) struct Validator {
    directory: Utf8PathBuf,
    authority: Option<Arc<dyn Authority>>,
    messages: mpsc::Receiver<Message>,
    deleter: mpsc::Sender<deleter::Message>,
    lsns: PendingLsns,
    cancel: CancellationToken,
    pending: Vec<DeletionList>,
    pending_objects: usize,
    /// A list on disk differs from what was validated, so the header must not vouch for it.
    header_is_void: bool,
}

impl Validator {
    pub(super) fn new(
        directory: Utf8PathBuf,
        authority: Option<Arc<dyn Authority>>,
        messages: mpsc::Receiver<Message>,
        deleter: mpsc::Sender<deleter::Message>,
        lsns: PendingLsns,
        cancel: CancellationToken,
    ) -> Validator {
        Validator {
            directory,
            authority,
            messages,
            deleter,
            lsns,
            cancel,
            pending: Vec::new(),
            pending_objects: 0,
            header_is_void: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut timer = tokio::time::interval(AUTOFLUSH_DELAY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // All branches are cancel-safe: a message that was not received stays in the channel.
            let message = tokio::select! {
                () = self.cancel.cancelled() => return,
                _ = timer.tick() => None,
                message = self.messages.recv() => match message {
                    Some(message) => Some(message),
                    None => return,
                },
            };
            let done = match message {
                Some(Message::List(list)) => {
                    self.pending_objects += list.len();
                    self.pending.push(list);
                    if self.pending_objects <= AUTOFLUSH_OBJECTS {
                        continue;
                    }
                    None
                }
                Some(Message::Flush(done)) => done,
                None => None,
            };
            if self.flush().await.is_err() {
                return;
            }
            if let Some(done) = done {
                // The waiter may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Validates what is pending and has it executed.
    async fn flush(&mut self) -> Result<(), Stopped> {
        let lsns: HashMap<TenantShardId, ShardLsns> =
            std::mem::take(&mut *self.lsns.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lists = std::mem::take(&mut self.pending);
        self.pending_objects = 0;
        if lists.is_empty() && lsns.is_empty() {
            return Ok(());
        }
        let asked = generations(&lists, &lsns);
        let current = match &self.authority {
            // What was validated before a restart needs no answer now.
            Some(authority) if !asked.is_empty() => {
                authority.validate(&asked).await.map_err(|_| Stopped)?
            }
            Some(_) | None => asked.clone(),
        };
        publish(lsns, &current);
        for list in lists.iter_mut().filter(|list| !list.validated) {
            self.drop_stale(list, &current).await;
        }
        if let Some(last) = lists.last() {
            self.write_header(last.sequence).await;
        }
        self.execute(lists).await
    }

    /// Takes out what stale generations want, in memory and on disk.
    async fn drop_stale(
        &mut self,
        list: &mut DeletionList,
        current: &BTreeMap<TenantShardId, Generation>,
    ) {
        let stale: Vec<(TenantShardId, Generation)> = list
            .tenants
            .iter()
            .map(|(shard, deletions)| (*shard, deletions.generation))
            .filter(|(shard, generation)| current.get(shard) != Some(generation))
            .collect();
        for (shard, generation) in &stale {
            tracing::info!(
                "Dropping stale deletions for tenant {shard} in generation {generation:?}, objects \
                 may be leaked"
            );
            metrics::DROPPED.inc_by(list.drop_shard(shard) as u64);
        }
        metrics::VALIDATED.inc_by(list.len() as u64);
        list.validated = true;
        if stale.is_empty() {
            return;
        }
        // Before the header vouches for the list.
        let path = self.directory.join(DeletionList::file_name(list.sequence));
        let mut stored = list.clone();
        stored.validated = false;
        let written = match stored.to_json() {
            Ok(json) => blocking(move || write_file(path, &json)).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = written {
            metrics::UNEXPECTED_ERRORS.inc();
            tracing::warn!(
                "Failed to write deletion list {:016x} without its stale part: {error}",
                list.sequence
            );
            self.header_is_void = true;
            metrics::DROPPED.inc_by(list.len() as u64);
            *list = DeletionList::new(list.sequence);
            list.validated = true;
        }
    }

    async fn write_header(&self, sequence: u64) {
        if self.header_is_void {
            tracing::warn!("Cannot write header because writing a deletion list failed earlier");
            return;
        }
        let path = self.directory.join(DELETION_HEADER_NAME);
        let written = match DeletionHeader::new(sequence).to_json() {
            Ok(json) => blocking(move || write_file(path, &json)).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = written {
            // Harmless: after a restart the lists are validated again.
            metrics::UNEXPECTED_ERRORS.inc();
            tracing::warn!("Failed to write the header of the deletion queue: {error}");
        }
    }

    /// Hands validated lists to the deleter, and forgets them when their objects are gone.
    async fn execute(&self, lists: Vec<DeletionList>) -> Result<(), Stopped> {
        if lists.is_empty() {
            return Ok(());
        }
        for list in lists.iter().filter(|list| !list.is_empty()) {
            self.to_deleter(deleter::Message::Delete(to_remote_paths(list))).await?;
        }
        let (done, waiter) = oneshot::channel();
        self.to_deleter(deleter::Message::Flush(done)).await?;
        waiter.await.map_err(|_| Stopped)?;
        let directory = self.directory.clone();
        let sequences: Vec<u64> = lists.iter().map(|list| list.sequence).collect();
        let removed = blocking(move || remove_lists(&directory, &sequences)).await;
        if let Err(error) = removed {
            tracing::error!("aborting because executed deletions cannot be forgotten: {error}");
            std::process::abort();
        }
        Ok(())
    }

    async fn to_deleter(&self, message: deleter::Message) -> Result<(), Stopped> {
        self.deleter.send(message).await.map_err(|_| Stopped)
    }
}

/// What to ask about. A shard of which there are several generations is asked about in the highest:
/// the lower ones are stale whatever the answer.
fn generations(
    lists: &[DeletionList],
    lsns: &HashMap<TenantShardId, ShardLsns>,
) -> BTreeMap<TenantShardId, Generation> {
    let listed = lists.iter().filter(|list| !list.validated).flat_map(|list| {
        list.tenants.iter().map(|(shard, deletions)| (*shard, deletions.generation))
    });
    let positioned = lsns.iter().map(|(shard, pending)| (*shard, pending.generation));
    let mut asked = BTreeMap::new();
    for (shard, generation) in listed.chain(positioned) {
        let highest = asked.entry(shard).or_insert(generation);
        *highest = generation.max(*highest);
    }
    asked
}

/// Publishes the positions of current generations.
fn publish(lsns: HashMap<TenantShardId, ShardLsns>, current: &BTreeMap<TenantShardId, Generation>) {
    for (shard, pending) in lsns {
        if current.get(&shard) == Some(&pending.generation) {
            for update in pending.timelines.into_values() {
                update.visible.fetch_max(update.lsn);
            }
        } else {
            tracing::info!(
                "Dropped remote consistent LSN updates for tenant {shard} in stale generation {:?}",
                pending.generation
            );
            metrics::DROPPED_LSN_UPDATES.inc_by(pending.timelines.len() as u64);
        }
    }
}

fn remove_lists(directory: &camino::Utf8Path, sequences: &[u64]) -> Result<(), FileError> {
    for sequence in sequences {
        let path = directory.join(DeletionList::file_name(*sequence));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError { action: "remove", path, reason: error.to_string() });
            }
            _ => {}
        }
    }
    Ok(())
}
