//! WAL made up by the test: quick, and as long as it has to be.

use postgres_ffi::PgMajor;
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use utils::Lsn;

pub const SYSTEM_ID: u64 = 42;
/// Where timelines of these tests begin: inside the first segment.
pub const START: Lsn = Lsn(0x100_0028);

/// Whole records from `start` on, at least `bytes` of them. `fill` tells one from another.
pub fn wal(start: Lsn, bytes: usize, fill: u8) -> Vec<u8> {
    let identity = WalIdentity { major: PgMajor::V15, system_id: SYSTEM_ID };
    let mut builder = WalBuilder::new(identity, start, Lsn::INVALID);
    let count = bytes.div_ceil(RECORD_BYTES).max(1);
    for _ in 0..count {
        builder.append(&RawRecord::logical_message("test", &vec![fill; RECORD_BYTES]));
    }
    builder.into_bytes()
}

const RECORD_BYTES: usize = 20_000;
