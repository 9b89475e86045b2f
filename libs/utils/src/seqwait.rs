//! Waiting for a log position to be reached.
//!
//! One side advances the position, any number of tasks wait for values of it. The position
//! never goes back. Waits are cancel-safe: a dropped wait leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::lsn::{AtomicLsn, Lsn};

/// A wait ended without the position being reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeqWaitError {
    /// The time allowed for the wait is over.
    #[error("timed out")]
    Timeout,
    /// The owner is shutting down; the position will not advance any more.
    #[error("shutting down")]
    Shutdown,
}

/// A position that can be waited for.
#[derive(Debug)]
pub struct SeqWait {
    current: AtomicLsn,
    state: Mutex<State>,
    has_waiters: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Ordered by position; the number keeps waits for the same position apart.
    waiters: BTreeMap<(Lsn, u64), oneshot::Sender<()>>,
    next_waiter: u64,
    shut_down: bool,
}

impl SeqWait {
    /// Starts at `lsn`.
    pub fn new(lsn: Lsn) -> Self {
        SeqWait {
            current: AtomicLsn::new(lsn),
            state: Mutex::default(),
            has_waiters: watch::Sender::new(false),
        }
    }

    /// The position reached so far.
    pub fn load(&self) -> Lsn {
        self.current.load()
    }

    /// Raises the position to `lsn` and wakes whoever waited for it or less. A lower value
    /// changes nothing. Returns the position before the call.
    pub fn advance(&self, lsn: Lsn) -> Lsn {
        let mut state = self.lock();
        let old = self.current.fetch_max(lsn);
        if old < lsn {
            let later = match lsn.0.checked_add(1) {
                Some(next) => state.waiters.split_off(&(Lsn(next), 0)),
                None => BTreeMap::new(),
            };
            for (_, waiter) in std::mem::replace(&mut state.waiters, later) {
                // The wait may have been dropped meanwhile.
                let _ = waiter.send(());
            }
            self.publish_has_waiters(&state);
        }
        old
    }

    /// Waits until the position is at least `lsn`.
    pub async fn wait_for(&self, lsn: Lsn) -> Result<(), SeqWaitError> {
        let Some((receiver, _registration)) = self.register(lsn)? else {
            return Ok(());
        };
        receiver.await.map_err(|_| SeqWaitError::Shutdown)
    }

    /// Like [`Self::wait_for`], for at most `timeout`.
    pub async fn wait_for_timeout(&self, lsn: Lsn, timeout: Duration) -> Result<(), SeqWaitError> {
        let Some((receiver, _registration)) = self.register(lsn)? else {
            return Ok(());
        };
        match tokio::time::timeout(timeout, receiver).await {
            Ok(woken) => woken.map_err(|_| SeqWaitError::Shutdown),
            Err(_) => Err(SeqWaitError::Timeout),
        }
    }

    /// Whether somebody is waiting, and a way to be told when that changes.
    pub fn has_waiters(&self) -> watch::Receiver<bool> {
        self.has_waiters.subscribe()
    }

    /// Ends all present waits, and all future ones that would have to wait, with
    /// [`SeqWaitError::Shutdown`].
    pub fn shutdown(&self) {
        let mut state = self.lock();
        state.shut_down = true;
        // Dropping the senders is what wakes the waiters.
        state.waiters.clear();
        self.publish_has_waiters(&state);
    }

    fn register(
        &self,
        lsn: Lsn,
    ) -> Result<Option<(oneshot::Receiver<()>, Registration<'_>)>, SeqWaitError> {
        if lsn <= self.load() {
            return Ok(None);
        }
        let mut state = self.lock();
        // Again under the lock: advance() may have come between.
        if lsn <= self.load() {
            return Ok(None);
        }
        if state.shut_down {
            return Err(SeqWaitError::Shutdown);
        }
        let key = (lsn, state.next_waiter);
        state.next_waiter += 1;
        let (sender, receiver) = oneshot::channel();
        state.waiters.insert(key, sender);
        self.publish_has_waiters(&state);
        Ok(Some((receiver, Registration { owner: self, key })))
    }

    fn publish_has_waiters(&self, state: &State) {
        let now = !state.waiters.is_empty();
        self.has_waiters.send_if_modified(|old| std::mem::replace(old, now) != now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, and the state has no half-way forms.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a wait out of the list when its future is dropped.
struct Registration<'a> {
    owner: &'a SeqWait,
    key: (Lsn, u64),
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut state = self.owner.lock();
        if state.waiters.remove(&self.key).is_some() {
            self.owner.publish_has_waiters(&state);
        }
    }
}

#[cfg(test)]
mod tests;
