//! A timeline's WAL on the local disk: segment files, their durability and their recovery.
//!
//! [`store`] is the write side that the acceptor drives, [`scan`] finds the end of WAL after a
//! restart, [`reader`] serves bytes to others, [`segment`] owns file names and file operations.
//! Everything here blocks: callers run it where blocking is allowed. Nothing here knows about
//! terms, votes or connections.

mod error;
pub mod reader;
mod scan;
pub mod segment;
pub mod store;
#[cfg(test)]
mod testing;

pub use error::WalStorageError;
pub use reader::{WalReadError, WalReader, WalSource};
pub use segment::SegmentDir;
pub use store::FileWalStorage;

/// Bytes per WAL segment. The record decoder knows no other size.
pub const SEGMENT_SIZE: u64 = postgres_ffi::WAL_SEGMENT_SIZE as u64;

/// The number of the segment that holds the byte at `lsn`.
pub fn segno(lsn: utils::Lsn) -> u64 {
    lsn.segment_number(SEGMENT_SIZE)
}

/// The first byte of segment `segno`.
pub fn segment_start(segno: u64) -> utils::Lsn {
    utils::Lsn(segno * SEGMENT_SIZE)
}
