//! What a timeline counts about its layers. Kept as plain numbers and turned into metrics when
//! those are asked for, so that an idle timeline costs next to nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::storage_io::ReadObserver;

/// Evictions of one timeline's layers, and bytes of its file I/O.
#[derive(Debug, Default)]
pub struct LayerCounters {
    evictions: AtomicU64,
    soon_evicted: Mutex<SoonEvicted>,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// Evictions after a residence below the threshold.
#[derive(Clone, Copy, Debug, Default)]
struct SoonEvicted {
    threshold: Duration,
    count: u64,
}

impl LayerCounters {
    /// A layer was evicted that had been here for `residence`.
    pub fn record_eviction(&self, residence: Duration, threshold: Duration) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        if residence < threshold {
            self.with_threshold(threshold, |soon| soon.count += 1);
        }
    }

    /// Bytes were written to layer files.
    pub fn record_write(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All evictions.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Evictions after a residence below `threshold`. Another threshold starts a new count.
    pub fn soon_evicted(&self, threshold: Duration) -> u64 {
        self.with_threshold(threshold, |soon| soon.count)
    }

    /// Bytes read from layer files.
    pub fn bytes_read(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes written to layer files.
    pub fn bytes_written(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    fn with_threshold<R>(
        &self,
        threshold: Duration,
        use_it: impl FnOnce(&mut SoonEvicted) -> R,
    ) -> R {
        let mut soon = self.soon_evicted.lock().unwrap_or_else(PoisonError::into_inner);
        if soon.threshold != threshold {
            *soon = SoonEvicted { threshold, count: 0 };
        }
        use_it(&mut soon)
    }
}

impl ReadObserver for LayerCounters {
    fn read_bytes(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
