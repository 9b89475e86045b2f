//! Disk work inside async tasks.
//!
//! A timeline's lock is held over disk I/O on purpose: that makes "check the term, write, sync"
//! one step. The work must therefore finish on the spot, but without holding up other tasks.
//!
//! Usually the other tasks of a worker first move to another thread. That costs a thread switch
//! or two, more than a write does, so the workers of the WAL service, of which there are more
//! than processors, do it in place as long as half of them are free for other tasks. Nobody looks
//! after the sockets of a worker meanwhile; a disk that turns out to be slow makes other tasks
//! move away there as well.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::{Handle, RuntimeFlavor};

/// A disk on which work takes longer is slow.
const SLOW_NANOS: u64 = 10_000_000;

/// How long work of the WAL service took lately.
static LATELY_NANOS: AtomicU64 = AtomicU64::new(0);

/// Workers that are doing such work in place.
static OCCUPIED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many workers of this thread's runtime may be occupied at a time.
    static MAY_OCCUPY: Cell<usize> = const { Cell::new(0) };
}

/// Lets this thread, a worker of the WAL service, do work in place while fewer than `limit` of its
/// kind do.
pub fn allow_in_place(limit: usize) {
    MAY_OCCUPY.set(limit);
}

/// A worker that does work in place.
struct Occupied;

impl Occupied {
    /// Fails if that would leave too few workers, or leave them for too long.
    fn claim() -> Option<Occupied> {
        let limit = MAY_OCCUPY.get();
        if limit == 0 || LATELY_NANOS.load(Ordering::Relaxed) >= SLOW_NANOS {
            return None;
        }
        // Only a number is agreed on: no memory is handed over by it.
        let claimed = OCCUPIED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |occupied| {
            (occupied < limit).then_some(occupied + 1)
        });
        claimed.is_ok().then_some(Occupied)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        OCCUPIED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs blocking work; other tasks go on meanwhile.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => match Occupied::claim() {
            Some(_occupied) => timed(work),
            None if MAY_OCCUPY.get() > 0 => tokio::task::block_in_place(|| timed(work)),
            None => tokio::task::block_in_place(work),
        },
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
