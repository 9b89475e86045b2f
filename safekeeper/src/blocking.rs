//! Disk work inside async tasks.
//!
//! A timeline's lock is held over disk I/O on purpose: that makes "check the term, write, sync"
//! one step. The work must therefore finish on the spot, but without holding up other tasks.
//!
//! Usually the other tasks of a worker first move to another thread. That takes longer than a
//! short write, so the workers of the WAL service, of which there are more than processors, do
//! what is usually quick in place. Nobody looks after the sockets of a worker meanwhile; as soon
//! as the disk turns out to be slow, other tasks move away there as well.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// Workers of the WAL service for each processor: so many syncs can be under way.
const WORKERS_PER_PROCESSOR: usize = 4;

/// What takes less is quick.
const QUICK_NANOS: u64 = 500_000;

/// How long work of the WAL service took lately.
static LATELY_NANOS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs blocking work; other tasks go on meanwhile.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) if MAY_BLOCK.get() => {
            match LATELY_NANOS.load(Ordering::Relaxed) < QUICK_NANOS {
                true => timed(work),
                false => tokio::task::block_in_place(|| timed(work)),
            }
        }
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // `--current-thread-runtime`: there is nobody else to run.
        Ok(_) | Err(_) => work(),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let outcome = work();
    let took_nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    // Updates that get lost between two workers do not matter.
    let lately_nanos = LATELY_NANOS.load(Ordering::Relaxed);
    LATELY_NANOS.store(lately_nanos - lately_nanos / 8 + took_nanos / 8, Ordering::Relaxed);
    outcome
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
