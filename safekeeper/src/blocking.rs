//! Disk work inside async tasks.
//!
//! A timeline's lock is held over disk I/O on purpose: that makes "check the term, write, sync"
//! one step. The work must therefore finish on the spot, but without holding up other tasks.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs blocking work; on a multi-threaded runtime other tasks move to other threads meanwhile.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // `--current-thread-runtime`: there is nobody else to run.
        Ok(_) | Err(_) => work(),
    }
}
