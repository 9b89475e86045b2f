//! The sum of all relation sizes of a timeline, kept up to date incrementally.
//!
//! Only increments are known until the size at load time has been computed once.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use postgres_ffi::BLCKSZ;

const UNKNOWN: u64 = u64::MAX;

/// The logical size of one timeline in bytes.
#[derive(Debug)]
pub struct LogicalSize {
    /// Size when the timeline was loaded, or [`UNKNOWN`].
    initial_bytes: AtomicU64,
    /// What ingest has added and removed since.
    added_bytes: AtomicI64,
}

/// A logical size, and whether it is the whole truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentLogicalSize {
    /// The size in bytes.
    Exact(u64),
    /// Only what was added since the timeline was loaded, in bytes.
    Approximate(u64),
}

impl CurrentLogicalSize {
    /// The number, whatever it is worth.
    pub fn bytes(self) -> u64 {
        match self {
            CurrentLogicalSize::Exact(bytes) | CurrentLogicalSize::Approximate(bytes) => bytes,
        }
    }
}

impl LogicalSize {
    /// For a timeline that was just created with nothing in it.
    pub const fn empty() -> Self {
        LogicalSize { initial_bytes: AtomicU64::new(0), added_bytes: AtomicI64::new(0) }
    }

    /// For a timeline that was loaded and whose size has not been computed.
    pub const fn unknown() -> Self {
        LogicalSize { initial_bytes: AtomicU64::new(UNKNOWN), added_bytes: AtomicI64::new(0) }
    }

    /// Supplies the size at the LSN where the timeline was loaded.
    pub fn set_initial(&self, bytes: u64) {
        self.initial_bytes.store(bytes, Ordering::Release);
    }

    /// Ingest added (or removed) this many blocks.
    pub fn add_blocks(&self, blocks: i64) {
        self.added_bytes.fetch_add(blocks.saturating_mul(BLCKSZ as i64), Ordering::AcqRel);
    }

    /// The size now.
    pub fn current(&self) -> CurrentLogicalSize {
        let added = self.added_bytes.load(Ordering::Acquire);
        match self.initial_bytes.load(Ordering::Acquire) {
            UNKNOWN => CurrentLogicalSize::Approximate(u64::try_from(added).unwrap_or(0)),
            initial => CurrentLogicalSize::Exact(initial.saturating_add_signed(added)),
        }
    }
}
