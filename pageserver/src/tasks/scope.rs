//! A group of tasks with one owner: cancelled together and awaited together.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, error, info};

use super::TaskKind;

/// How long a task may take to end before the wait for it is logged.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// Whether the process can go on without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitOnError {
    /// It can: the error is logged.
    No,
    /// It cannot: the process exits with status 1.
    Yes,
}

/// Spawns tasks, cancels them and waits for them.
#[derive(Clone, Debug)]
pub struct TaskScope {
    name: &'static str,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl TaskScope {
    /// A scope whose tasks are cancelled with `cancel`. The name appears in the log.
    pub fn new(name: &'static str, cancel: CancellationToken) -> Self {
        TaskScope { name, tracker: TaskTracker::new(), cancel }
    }

    /// The token that tasks of the scope listen to.
    pub fn cancellation_token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs a task on the current runtime. An error or panic of it is logged here, in one place.
    pub fn spawn<F, E>(&self, kind: TaskKind, exit: ExitOnError, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.spawn_on(&Handle::current(), kind, exit, task);
    }

    /// Runs a task on the given runtime.
    pub fn spawn_on<F, E>(&self, runtime: &Handle, kind: TaskKind, exit: ExitOnError, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        // Boxed, as each layer around a future makes room for it twice.
        let task = Box::pin(task);
        let task = async move {
            let failed = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) => false,
                Ok(Err(failure)) => {
                    error!("task {kind} failed: {failure}");
                    true
                }
                // The panic hook has logged where and why.
                Err(_) => {
                    error!("task {kind} panicked");
                    true
                }
            };
            if failed && exit == ExitOnError::Yes {
                error!("shutting down: the pageserver cannot go on without task {kind}");
                std::process::exit(1);
            }
        };
        self.tracker.spawn_on(task.instrument(Span::current()), runtime);
    }

    /// Cancels the tasks and waits until all have ended.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.wait().await;
    }

    /// Waits until all tasks have ended. Nothing may be spawned afterwards that must be awaited.
    pub async fn wait(&self) {
        self.tracker.close();
        if tokio::time::timeout(QUIET_WAIT, self.tracker.wait()).await.is_err() {
            info!("waiting for {} tasks of {} to shut down", self.tracker.len(), self.name);
            self.tracker.wait().await;
            info!("tasks of {} completed", self.name);
        }
    }
}
