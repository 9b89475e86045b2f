//! Reading files: a bounded number of open descriptors, and a bounded cache of blocks.
//!
//! Layer files outnumber the descriptors a process may have, so a [`VirtualFile`] may lose its
//! descriptor to another and opens its file again when it is read. Index blocks of layers are read
//! over and over, so a [`PageCache`] keeps them. Everything here blocks; callers choose the thread.
//!
//! Knows nothing of layers, keys or timelines.

mod blocks;
mod direct;
mod fd_table;
pub mod metrics;
mod page_cache;

use std::sync::Arc;

pub use blocks::{CachedBlocks, ReadObserver};
pub use direct::{DirectAlignment, IoMode};
pub use fd_table::{FdTable, VirtualFile};
pub use metrics::{ContentKind, with_task_kind};
pub use page_cache::{FileId, PageCache, PageKey};

/// What all readers of a process share. Clones share it.
#[derive(Clone, Debug)]
pub struct StorageIo {
    /// Open descriptors.
    pub files: Arc<FdTable>,
    /// Cached blocks.
    pub pages: Arc<PageCache>,
}

impl StorageIo {
    /// Room for so many descriptors and so many blocks of 8 KiB.
    pub fn new(max_descriptors: usize, cache_blocks: usize) -> StorageIo {
        StorageIo::with_mode(max_descriptors, cache_blocks, IoMode::Buffered)
    }

    /// The same for files that are read in this mode.
    pub fn with_mode(max_descriptors: usize, cache_blocks: usize, mode: IoMode) -> StorageIo {
        metrics::set_limits(max_descriptors, cache_blocks);
        StorageIo {
            files: Arc::new(FdTable::new(max_descriptors, mode)),
            pages: Arc::new(PageCache::new(cache_blocks)),
        }
    }
}
