//! Commit timestamps. PostgreSQL logs none: redo of a commit record sets the entries of its
//! transactions. Pages of `pg_commit_ts` have no header, so that nothing but the order of calls
//! keeps an older record from being applied to a newer page.

use postgres_ffi::pg_constants::{rmgr, xact};
use postgres_ffi::slru::{COMMIT_TS_ENTRY_SIZE, COMMIT_TS_XACTS_PER_PAGE, commit_ts_page};
use postgres_ffi::{BLCKSZ, PgMajor};
use wal_decoder::XactEnd;
use wal_decoder::record::DecodedRecord;

use crate::error::RedoFailure;
use crate::page::Page;

/// Applies a commit record to `page`, page `page_number` of `pg_commit_ts`: sets the entries of
/// those of the record's transactions that lie there. On error the page's content is unspecified.
///
/// Source: `TransactionTreeSetCommitTsData` in PostgreSQL's `commit_ts.c`.
pub fn set_commit_timestamps(
    page: &mut [u8; BLCKSZ],
    page_number: u32,
    record: &DecodedRecord,
    major: PgMajor,
) -> Result<(), RedoFailure> {
    let operation = record.info & xact::OP_MASK;
    if record.rmid != rmgr::XACT || !matches!(operation, xact::COMMIT | xact::COMMIT_PREPARED) {
        return Err(RedoFailure::Unsupported);
    }
    let end = XactEnd::parse(record.main_data, record.info, major).map_err(|short| {
        RedoFailure::Truncated { what: short.what, needed: short.needed.saturating_sub(short.left) }
    })?;
    let xid = match operation {
        xact::COMMIT => record.xid,
        _ => end.two_phase_xid.ok_or(RedoFailure::BadRecord("no prepared transaction"))?,
    };
    let mut entry = [0; COMMIT_TS_ENTRY_SIZE as usize];
    let (time, origin) = entry.split_at_mut(8);
    time.copy_from_slice(&end.commit_timestamp().to_le_bytes());
    origin.copy_from_slice(&record.origin_id.to_le_bytes());
    let mut page = Page::new(page);
    for xid in end.subxids.into_iter().chain([xid]) {
        if commit_ts_page(xid) == page_number {
            let at = xid % COMMIT_TS_XACTS_PER_PAGE * COMMIT_TS_ENTRY_SIZE;
            page.put(at as usize, &entry)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
