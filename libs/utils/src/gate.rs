//! A gate: lets a scope wait until all work inside it has ended.
//!
//! Work holds a [`GateGuard`]; closing the gate refuses new guards and waits for those that
//! are out. Cancellation is separate: signal it before closing, or the wait may be long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Set in the counter once the gate is closing.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// The gate is closing or closed: the scope is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("gate is closed")]
pub struct GateClosed;

/// Counts the work inside a scope. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Number of guards, plus [`CLOSED`].
    state: AtomicUsize,
    emptied: Notify,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters, unless the gate is closing.
    pub fn enter(&self) -> Result<GateGuard, GateClosed> {
        let entered = self.inner.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & CLOSED == 0).then_some(state + 1)
        });
        match entered {
            Ok(_) => Ok(GateGuard { inner: self.inner.clone() }),
            Err(_) => Err(GateClosed),
        }
    }

    /// Refuses new guards and returns when all others are gone. May be called repeatedly.
    pub async fn close(&self) {
        self.inner.state.fetch_or(CLOSED, Ordering::AcqRel);
        loop {
            let emptied = self.inner.emptied.notified();
            tokio::pin!(emptied);
            // Registered before looking, so that a guard dropped in between is not missed.
            emptied.as_mut().enable();
            if self.close_complete() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether the gate is closed and nobody is inside.
    pub fn close_complete(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) == CLOSED
    }
}

/// Proof of being inside; dropping it leaves.
#[derive(Debug)]
pub struct GateGuard {
    inner: Arc<Inner>,
}

impl Drop for GateGuard {
    fn drop(&mut self) {
        if self.inner.state.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            self.inner.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
