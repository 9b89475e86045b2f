//! WAL bytes to records, and records to their parsed parts.
//!
//! [`stream`] reassembles records from the byte stream; [`record`] takes one record apart into
//! block references and main data; [`xact`] reads the main data of a transaction's end;
//! [`end_of_wal`] finds where a directory of segment files ends. None of them decides what a record
//! changes, and none panics on damaged bytes.

pub mod end_of_wal;
pub mod record;
pub mod stream;
pub mod xact;

pub use end_of_wal::{EndOfWal, EndOfWalError, find_end_of_wal};
pub use record::{DecodedRecord, RecordDecodeError};
pub use stream::{WalDecodeError, WalStreamDecoder};
pub use xact::{XactEnd, XactOrigin};
