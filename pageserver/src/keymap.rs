//! Which key holds what: typed reads of a timeline's contents, and batches of typed writes.
//!
//! [`Keymap`] reads relations, directories, SLRUs and files as of an LSN; [`modification`]
//! collects the changes of WAL records and commits them together. Both know the engine only
//! through [`KeyReader`] and [`KeyStore`], so that they can be tested without one. Nothing here
//! knows what a WAL record or a layer is.

pub mod aux_files;
pub mod directories;
pub mod directory_counts;
mod keyspace;
pub mod logical_size;
#[cfg(test)]
pub mod memory;
pub mod modification;
mod read;
pub mod rel_size_cache;
pub mod store;
mod timestamp;

pub use directory_counts::{DirectoryCounts, DirectoryKind};
pub use keyspace::PartitionedKeys;
pub use logical_size::LogicalSize;
pub use modification::{DatadirModification, ModificationError};
pub use read::{Keymap, KeymapError};
pub use rel_size_cache::RelSizeCache;
pub use store::{BatchEffects, KeyReadError, KeyReader, KeyStore, KeyWriteError};
pub use timestamp::{LsnForTimestamp, LsnForTimestampKind};
