//! Who pushes WAL into a timeline right now.
//!
//! A slot lives as long as its connection. The number of slots drives the timeline's activity,
//! so it can be watched.

use std::sync::{Arc, Mutex, PoisonError};

use safekeeper_api::models::{WalReceiverState, WalReceiverStatus};
use tokio::sync::watch;

/// The receivers of one timeline.
#[derive(Debug)]
pub struct WalReceivers {
    slots: Mutex<Vec<Option<WalReceiverState>>>,
    count: watch::Sender<usize>,
}

/// A connection's slot; dropping it gives the slot up.
#[derive(Debug)]
pub struct WalReceiverGuard {
    registry: Arc<WalReceivers>,
    index: usize,
}

impl WalReceivers {
    /// Nobody yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), count: watch::Sender::new(0) })
    }

    /// Registers a connection; `None` is the safekeeper's own recovery from a peer.
    pub fn register(self: &Arc<Self>, conn_id: Option<u32>) -> WalReceiverGuard {
        let state = WalReceiverState { conn_id, status: WalReceiverStatus::Voting };
        let index = self.with_slots(|slots| match slots.iter_mut().position(|s| s.is_none()) {
            Some(index) => {
                slots.iter_mut().skip(index).take(1).for_each(|slot| *slot = Some(state));
                index
            }
            None => {
                slots.push(Some(state));
                slots.len() - 1
            }
        });
        WalReceiverGuard { registry: self.clone(), index }
    }

    /// Every receiver.
    pub fn all(&self) -> Vec<WalReceiverState> {
        self.lock().iter().flatten().copied().collect()
    }

    /// How many receivers there are.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Whether a compute streams WAL; our own recovery does not count.
    pub fn has_streaming_compute(&self) -> bool {
        let streams = |slot: &WalReceiverState| {
            slot.conn_id.is_some() && slot.status == WalReceiverStatus::Streaming
        };
        self.lock().iter().flatten().any(streams)
    }

    /// Follows the number of receivers.
    pub fn subscribe_count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<WalReceiverState>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_slots<T>(&self, change: impl FnOnce(&mut Vec<Option<WalReceiverState>>) -> T) -> T {
        let mut slots = self.lock();
        let result = change(&mut slots);
        let count = slots.iter().flatten().count();
        self.count.send_if_modified(|old| std::mem::replace(old, count) != count);
        result
    }
}

impl WalReceiverGuard {
    /// A leader announced itself on this connection.
    pub fn set_streaming(&self) {
        self.registry.with_slots(|slots| {
            if let Some(Some(state)) = slots.get_mut(self.index) {
                state.status = WalReceiverStatus::Streaming;
            }
        });
    }
}

impl Drop for WalReceiverGuard {
    fn drop(&mut self) {
        self.registry.with_slots(|slots| {
            if let Some(slot) = slots.get_mut(self.index) {
                *slot = None;
            }
        });
    }
}

#[cfg(test)]
mod tests;
