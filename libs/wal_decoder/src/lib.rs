//! WAL bytes to records, and records to their parsed parts.
//!
//! [`stream`] reassembles records from the byte stream; [`record`] takes one record apart into
//! block references and main data; [`end_of_wal`] finds where a directory of segment files ends.
//! None of them interprets what a record means, and none panics on damaged bytes.

pub mod end_of_wal;
pub mod record;
pub mod stream;

pub use end_of_wal::{EndOfWal, EndOfWalError, find_end_of_wal};
pub use record::{DecodedRecord, RecordDecodeError};
pub use stream::{WalDecodeError, WalStreamDecoder};
