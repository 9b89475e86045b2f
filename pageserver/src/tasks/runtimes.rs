//! The Tokio runtimes of the process.
//!
//! By default there is one per [`RuntimeKind`]; an environment variable merges them.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

use metrics::{IntGaugeVec, register_int_gauge_vec};

use super::RuntimeKind;

static CONFIGURED_THREADS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "pageserver_tokio_executor_thread_configured_count",
        "Worker threads of all runtimes",
        &["setup"]
    )
    .expect("a metric is registered once")
});

/// Merges the runtimes when set.
const ONE_RUNTIME_VARIABLE: &str = "NEON_PAGESERVER_USE_ONE_RUNTIME";
/// Worker threads per runtime.
const WORKER_THREADS_VARIABLE: &str = "TOKIO_WORKER_THREADS";

/// The runtimes could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeConfigError {
    /// An environment variable has a value that means nothing.
    #[error("invalid value {value:?} of environment variable {name}: expected {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The operating system refused threads.
    #[error("cannot start the {name} runtime: {source}")]
    Start {
        /// Which one.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Owns the runtimes. Dropping it waits for blocking work.
#[derive(Debug)]
pub struct Runtimes {
    compute: Runtime,
    others: Option<OtherRuntimes>,
    worker_threads: usize,
}

#[derive(Debug)]
struct OtherRuntimes {
    mgmt: Runtime,
    walreceiver: Runtime,
    background: Runtime,
}

/// How the process is asked to lay out its runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Multiple,
    OneCurrentThread,
    One(Option<usize>),
}

impl Runtimes {
    /// Makes the runtimes as the environment asks.
    pub fn from_env() -> Result<Self, RuntimeConfigError> {
        let workers = match std::env::var(WORKER_THREADS_VARIABLE) {
            Ok(value) => parse_threads(WORKER_THREADS_VARIABLE, &value)?,
            Err(_) => default_worker_threads(),
        };
        let layout = match std::env::var(ONE_RUNTIME_VARIABLE) {
            Ok(value) => parse_layout(&value)?,
            Err(_) => Layout::Multiple,
        };
        Self::new(layout, workers)
    }

    fn new(layout: Layout, workers: usize) -> Result<Self, RuntimeConfigError> {
        let (setup, threads) = match layout {
            Layout::Multiple => ("multiple-runtimes", RuntimeKind::COUNT * workers),
            Layout::OneCurrentThread => ("one-runtime-single-threaded", 1),
            Layout::One(threads) => ("one-runtime-multi-threaded", threads.unwrap_or(workers)),
        };
        CONFIGURED_THREADS.with_label_values(&[setup]).set(threads as i64);
        match layout {
            Layout::Multiple => Ok(Runtimes {
                compute: start("compute request worker", Some(workers))?,
                others: Some(OtherRuntimes {
                    mgmt: start("mgmt request worker", Some(workers))?,
                    walreceiver: start("walreceiver worker", Some(workers))?,
                    background: start("background op worker", Some(workers))?,
                }),
                worker_threads: workers,
            }),
            Layout::OneCurrentThread => Ok(Runtimes {
                // A current-thread runtime makes progress only while somebody blocks on it, so
                // one worker thread stands in for it.
                compute: start("pageserver worker", Some(1))?,
                others: None,
                worker_threads: 1,
            }),
            Layout::One(threads) => {
                let threads = threads.unwrap_or(workers);
                Ok(Runtimes {
                    compute: start("pageserver worker", Some(threads))?,
                    others: None,
                    worker_threads: threads,
                })
            }
        }
    }

    /// The runtime for a kind.
    pub fn handle(&self, kind: RuntimeKind) -> &Handle {
        match (&self.others, kind) {
            (None, _) | (Some(_), RuntimeKind::ComputeRequest) => self.compute.handle(),
            (Some(others), RuntimeKind::MgmtRequest) => others.mgmt.handle(),
            (Some(others), RuntimeKind::WalReceiver) => others.walreceiver.handle(),
            (Some(others), RuntimeKind::Background) => others.background.handle(),
        }
    }

    /// Worker threads of each runtime.
    pub fn worker_threads(&self) -> usize {
        self.worker_threads
    }
}

fn default_worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |threads| threads.get().max(2))
}

fn start(name: &'static str, workers: Option<usize>) -> Result<Runtime, RuntimeConfigError> {
    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    builder
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|source| RuntimeConfigError::Start { name, source })
}

fn parse_threads(name: &'static str, value: &str) -> Result<usize, RuntimeConfigError> {
    value.parse().ok().filter(|threads| *threads > 0).ok_or_else(|| RuntimeConfigError::Variable {
        name,
        value: value.to_owned(),
        expected: "a number of threads, at least 1",
    })
}

fn parse_layout(value: &str) -> Result<Layout, RuntimeConfigError> {
    match value {
        "current_thread" => Ok(Layout::OneCurrentThread),
        "multi_thread:default" => Ok(Layout::One(None)),
        other => match other.strip_prefix("multi_thread:") {
            Some(threads) => {
                parse_threads(ONE_RUNTIME_VARIABLE, threads).map(Some).map(Layout::One)
            }
            None => Err(RuntimeConfigError::Variable {
                name: ONE_RUNTIME_VARIABLE,
                value: other.to_owned(),
                expected: "current_thread, multi_thread:default or multi_thread:<n>",
            }),
        },
    }
}

#[cfg(test)]
mod tests;
