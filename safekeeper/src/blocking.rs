//! Disk work inside async tasks.
//!
//! A timeline's lock is held over disk I/O on purpose: that makes "check the term, write, sync"
//! one step. The work must therefore finish on the spot, but without holding up other tasks.
//!
//! The WAL service has a runtime of its own with more workers than there are processors, which
//! exist to wait for the disk: there the work is simply done. Elsewhere the other tasks of a
//! worker first move to another thread, which costs more than a short write.

use std::cell::Cell;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// Workers of the WAL service for each processor: so many syncs can be under way.
const WORKERS_PER_PROCESSOR: usize = 4;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs blocking work; other tasks go on meanwhile.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) if !MAY_BLOCK.get() => tokio::task::block_in_place(work),
        // A worker of the WAL service, or `--current-thread-runtime`: there is nobody else to run.
        Ok(_) | Err(_) => work(),
    }
}

/// The runtime of the WAL service. Dropping it ends it without waiting for its tasks.
#[derive(Debug)]
pub struct WalServiceRuntime(Option<Runtime>);

impl WalServiceRuntime {
    /// Starts the workers.
    pub fn start() -> std::io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors * WORKERS_PER_PROCESSOR)
            .thread_name("WAL service worker")
            .on_thread_start(|| MAY_BLOCK.set(true))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for WalServiceRuntime {
    fn drop(&mut self) {
        // Durability never depends on an orderly end, and a drop inside an async task may not
        // wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
