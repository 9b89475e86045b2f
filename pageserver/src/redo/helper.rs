//! The helper processes of one tenant shard: at most one per PostgreSQL version.
//!
//! Started when first needed, replaced after a failure, ended with the tenant. A request that
//! fails is tried once more with a new process: the other requests that were in the failed one
//! are not to blame.

use std::convert::Infallible;
use std::ffi::OsString;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::shard::TenantShardId;
use postgres_ffi::PgMajor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utils::Lsn;
use wal_redo_process::{LaunchOptions, LaunchedProcess, RedoProcess, RedoProcessError};

use super::metrics::PROCESSES;
use crate::config::HelperCommand;
use crate::tasks::{ExitOnError, TaskKind, TaskScope};

/// Attempts at a request.
const MAX_ATTEMPTS: u32 = 2;

/// Why the helper gave no page.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The tenant is shutting down.
    #[error("the tenant is shutting down")]
    ShuttingDown,
    /// The process failed, and so did the one that replaced it.
    #[error("{attempts} attempts failed")]
    Process {
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        source: RedoProcessError,
    },
}

/// The processes, by version.
#[derive(Debug)]
pub(super) struct HelperPool {
    command: HelperCommand,
    timeout: Duration,
    shard: TenantShardId,
    cancel: CancellationToken,
    tasks: TaskScope,
    slots: [Slot; PgMajor::ALL.len()],
}

/// The place of the process for one version.
#[derive(Debug)]
struct Slot {
    major: PgMajor,
    /// Held while a process is started, so that all who need one share it.
    process: Mutex<Option<Arc<RedoProcess>>>,
    last_used: SyncMutex<Instant>,
}

impl Slot {
    fn new(major: PgMajor) -> Self {
        Slot { major, process: Mutex::new(None), last_used: SyncMutex::new(Instant::now()) }
    }

    fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle_time(&self) -> Duration {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl HelperPool {
    pub(super) fn new(
        command: HelperCommand,
        timeout: Duration,
        shard: TenantShardId,
        cancel: CancellationToken,
    ) -> Self {
        HelperPool {
            command,
            timeout,
            shard,
            tasks: TaskScope::new("WAL redo", cancel.clone()),
            cancel,
            slots: PgMajor::ALL.map(Slot::new),
        }
    }

    /// Sends a request. `about` is for the log.
    pub(super) async fn request(
        &self,
        major: PgMajor,
        request: &[u8],
        about: (Key, &[(Lsn, Bytes)]),
    ) -> Result<Bytes, HelperError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_request(major, request).await? {
                Ok(page) => {
                    if attempts > 1 {
                        tracing::info!("retried walredo succeeded after {attempts} attempts");
                    }
                    return Ok(page);
                }
                Err(_) if self.cancel.is_cancelled() => return Err(HelperError::ShuttingDown),
                Err(source) => {
                    log_failure(&source, attempts, about, request.len());
                    if attempts == MAX_ATTEMPTS {
                        return Err(HelperError::Process { attempts, source });
                    }
                }
            }
        }
    }

    async fn try_request(
        &self,
        major: PgMajor,
        request: &[u8],
    ) -> Result<Result<Bytes, RedoProcessError>, HelperError> {
        let Some(slot) = self.slots.iter().find(|slot| slot.major == major) else {
            return Err(HelperError::ShuttingDown);
        };
        slot.touch();
        let process = match self.running(slot).await? {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        let result = process.request(request).await;
        if result.is_err() {
            self.retire(slot, &process).await;
        }
        Ok(result)
    }

    /// The running process, started if there is none.
    async fn running(
        &self,
        slot: &Slot,
    ) -> Result<Result<Arc<RedoProcess>, RedoProcessError>, HelperError> {
        let mut current = slot.process.lock().await;
        if let Some(process) = &*current {
            return Ok(Ok(Arc::clone(process)));
        }
        if self.cancel.is_cancelled() {
            return Err(HelperError::ShuttingDown);
        }
        let launched = match self.launch(slot.major) {
            Ok(launched) => launched,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Arc::clone(current.insert(launched))))
    }

    fn launch(&self, major: PgMajor) -> Result<Arc<RedoProcess>, RedoProcessError> {
        let started = Instant::now();
        let program = self.command.program(major);
        let shard = self.shard.to_string();
        let mut arguments: Vec<OsString> =
            ["--wal-redo", "--tenant-shard-id", &shard].map(OsString::from).to_vec();
        arguments.extend(self.command.arguments(major).into_iter().map(OsString::from));
        let beside = program.parent().and_then(|bin| bin.parent()).map(|dir| dir.join("lib"));
        let options = LaunchOptions {
            program: program.into_std_path_buf(),
            arguments,
            library_directory: beside.filter(|dir| dir.is_dir()).map(Into::into),
            timeout: self.timeout,
        };
        let LaunchedProcess { process, stderr } = RedoProcess::launch(&options)?;
        PROCESSES.started(started.elapsed());
        tracing::info!(pid = process.pid(), "launched walredo process for PostgreSQL {major}");
        self.spawn_stderr_logger(process.pid(), stderr);
        Ok(Arc::new(process))
    }

    /// Copies what a process says to the log, until it ends.
    fn spawn_stderr_logger(&self, pid: u32, stderr: ChildStderr) {
        let span = tracing::info_span!(
            parent: None, "wal-redo-postgres-stderr",
            tenant_id = %self.shard.tenant_id, shard_id = %self.shard.shard_slug(), pid,
        );
        let logger = async move {
            PROCESSES.logger_started();
            let mut lines = BufReader::new(stderr).lines();
            loop {
                match lines.next_line().await {
                    Ok(Some(output)) => tracing::error!(output, "received output"),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!("cannot read standard error of a WAL redo process: {error}");
                        break;
                    }
                }
            }
            PROCESSES.logger_finished();
            Ok::<(), Infallible>(())
        };
        self.tasks.spawn(TaskKind::WalRedoStderrLogger, ExitOnError::No, logger.instrument(span));
    }

    /// Takes a process out of use and ends it, unless somebody else did.
    async fn retire(&self, slot: &Slot, process: &Arc<RedoProcess>) {
        let mut current = slot.process.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, process)) {
            current.take();
            drop(current);
            end(process).await;
        }
    }

    pub(super) async fn process_ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        for slot in &self.slots {
            ids.extend(slot.process.lock().await.as_ref().map(|process| process.pid()));
        }
        ids
    }

    /// Ends processes that had nothing to do for that long.
    pub(super) async fn quiesce(&self, idle: Duration) {
        for slot in self.slots.iter().filter(|slot| slot.idle_time() >= idle) {
            let process = slot.process.lock().await.take();
            if let Some(process) = process {
                end(&process).await;
            }
        }
    }

    /// Ends every process; returns when none is left.
    pub(super) async fn shutdown(&self) {
        debug_assert!(self.cancel.is_cancelled(), "a process could be started behind our back");
        for slot in &self.slots {
            let process = slot.process.lock().await.take();
            if let Some(process) = process {
                end(&process).await;
            }
        }
        self.tasks.wait().await;
    }
}

/// Kills a process and waits for its end.
async fn end(process: &RedoProcess) {
    match process.kill().await {
        Ok(status) => tracing::info!(pid = process.pid(), "walredo process ended: {status}"),
        Err(error) => {
            tracing::error!(pid = process.pid(), "cannot wait for a WAL redo process: {error}");
        }
    }
    PROCESSES.stopped();
}

fn log_failure(
    error: &RedoProcessError,
    attempts: u32,
    (key, records): (Key, &[(Lsn, Bytes)]),
    request_bytes: usize,
) {
    let lsn = |record: Option<&(Lsn, Bytes)>| record.map_or(Lsn::INVALID, |(lsn, _)| *lsn);
    let (first, last) = (lsn(records.first()), lsn(records.last()));
    tracing::error!(
        "error applying {} WAL records {first}..{last} ({request_bytes} bytes) to key {key} \
         n_attempts={attempts}: {error}",
        records.len(),
    );
}
