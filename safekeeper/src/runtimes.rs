//! The async runtimes of the daemon, one for each role, so that work of one does not wait for that
//! of another and `top` shows which one takes the time.
//!
//! The WAL service has workers to spare, because its syncs block them (see [`crate::blocking`]).
//! One worker each is enough for the others: what they have to wait for, they leave to threads
//! that come and go. The main thread only looks after the rest.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::blocking;

/// Workers of the WAL service for each processor: so many syncs can be under way.
const WAL_WORKERS_PER_PROCESSOR: usize = 4;

/// Where each kind of work runs.
#[derive(Clone, Debug)]
pub struct Roles {
    /// Sessions of those who push and read WAL.
    pub wal_service: Handle,
    /// The management API.
    pub http: Handle,
    /// The exchange with the broker.
    pub broker: Handle,
    /// Uploads to object storage.
    pub wal_backup: Handle,
    /// Managers of timelines, removal of WAL and recovery from peers.
    pub background: Handle,
}

impl Roles {
    /// Everything on one runtime.
    pub fn all_on(runtime: &Handle) -> Self {
        let [wal_service, http, broker, wal_backup, background] =
            std::array::from_fn(|_| runtime.clone());
        Self { wal_service, http, broker, wal_backup, background }
    }
}

/// Runtimes that were started. Dropping them ends them without waiting for their tasks.
#[derive(Debug)]
pub struct Runtimes {
    owned: Vec<Runtime>,
    roles: Roles,
}

impl Runtimes {
    /// Starts one for each role.
    pub fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = processors * WAL_WORKERS_PER_PROCESSOR;
        let owned = [
            Builder::new_multi_thread()
                .worker_threads(workers)
                .thread_name("WAL service worker")
                .on_thread_start(move || blocking::allow_in_place(workers / 2))
                .enable_all()
                .build()?,
            start_single("HTTP worker")?,
            start_single("broker worker")?,
            start_single("WAL backup worker")?,
            start_single("background worker")?,
        ];
        let [wal_service, http, broker, wal_backup, background] =
            owned.each_ref().map(|runtime| runtime.handle().clone());
        let roles = Roles { wal_service, http, broker, wal_backup, background };
        Ok(Self { owned: owned.into(), roles })
    }

    /// None: everything is done on the runtime of the caller, who must be within one.
    pub fn none() -> Self {
        Self { owned: Vec::new(), roles: Roles::all_on(&Handle::current()) }
    }

    /// Where to spawn.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }
}

/// One worker, which can hand its tasks to another thread when it has to wait for the disk.
fn start_single(name: &str) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        // A drop inside an async task may not wait.
        self.owned.drain(..).for_each(Runtime::shutdown_background);
    }
}
