//! WAL as bytes: segment files, page headers, records, and how records are laid on pages.
//!
//! Only formats: nothing here reads or writes files. Decoding a stream is `wal_decoder`'s job.

pub mod builder;
pub mod page_header;
pub mod record;
pub mod segment;
pub mod shutdown_checkpoint;

pub use builder::WalBuilder;
pub use page_header::{PageHeader, PageHeaderError, XLP_BKP_REMOVABLE, XLP_FIRST_IS_CONTRECORD};
pub use page_header::{XLP_FIRST_IS_OVERWRITE_CONTRECORD, XLP_LONG_HEADER};
pub use record::{RECORD_HEADER_SIZE, RawRecord, RecordHeader, record_crc};
pub use segment::{parse_segment_file_name, segment_file_name, segment_start_image};
pub use shutdown_checkpoint::ShutdownCheckpoint;

use crate::version::PgMajor;

/// Page size of the WAL in bytes.
pub const XLOG_BLCKSZ: usize = 8192;

/// What every page header of a cluster's WAL repeats. The timeline is always 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalIdentity {
    /// Decides the magic number.
    pub major: PgMajor,
    /// The cluster's system identifier.
    pub system_id: u64,
}
