//! A thread of its own for the proposer.
//!
//! A commit passes through half a dozen tasks here: from the replication session to the state
//! machine, to three safekeepers and back. On one thread each step is a function call; spread
//! over several it is a wake-up of another thread, which costs more than the work itself. And
//! nothing else that `compute_ctl` does can hold a commit up.

use tokio::sync::oneshot;

use crate::proposer::stream::stream;
use crate::proposer::{ProposerError, StreamSetup};

/// Carries WAL like [`stream`], on a thread that ends with it. Dropping the future ends both.
pub async fn stream_on_own_thread(setup: StreamSetup) -> Result<(), ProposerError> {
    let (mut outcome_sender, outcome) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        let outcome = tokio::select! {
            outcome = stream(setup) => outcome,
            () = outcome_sender.closed() => return,
        };
        // A receiver that is gone has ended without waiting for us.
        let _ = outcome_sender.send(outcome);
    };
    let run = move || {
        // A task, because waking what a thread is blocked on goes through the kernel even from
        // within that thread. One that panics drops the sender, which tells.
        let _ = runtime.block_on(runtime.spawn(work));
    };
    std::thread::Builder::new().name("walproposer".to_owned()).spawn(run)?;
    outcome.await.unwrap_or(Err(ProposerError::Aborted))
}
