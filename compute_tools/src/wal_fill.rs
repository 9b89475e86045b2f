//! Putting the real WAL below the start position into the first segment file.
//!
//! The backup's segment has page headers only. That is enough for a primary, but a standby of
//! this endpoint asks from the segment's start. Everything here is best effort.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use camino::Utf8Path;
use postgres_client::ConnectOptions;
use postgres_ffi::xlog::{XLOG_BLCKSZ, segment_file_name};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;

use crate::safekeeper::{WalFetch, WalFetchError};

/// A start is not held up by one safekeeper for longer than this.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Fills in what a safekeeper has of the segment of `start_lsn`, below it.
pub async fn fill_first_segment(
    safekeepers: &[ConnectOptions],
    pgdata: &Utf8Path,
    start_lsn: Lsn,
    major: PgMajor,
) {
    let offset = start_lsn.segment_offset(WAL_SEGMENT_SIZE as u64);
    if offset == 0 {
        return;
    }
    let segment_start = Lsn(start_lsn.0 - offset);
    for safekeeper in safekeepers {
        let fetch = fetch(safekeeper, segment_start, start_lsn);
        let problem = match tokio::time::timeout(TIMEOUT, fetch).await {
            Ok(Ok(wal)) => match write(pgdata, segment_start, &wal, major) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("safekeeper {}: no answer in {TIMEOUT:?}", safekeeper.address()),
        };
        tracing::info!("WAL from {segment_start} to {start_lsn} is not available: {problem}");
    }
}

async fn fetch(
    safekeeper: &ConnectOptions,
    begin: Lsn,
    end: Lsn,
) -> Result<Vec<u8>, WalFetchError> {
    let length = end.0.saturating_sub(begin.0) as usize;
    let mut fetch = WalFetch::open(safekeeper, begin, None).await?;
    let mut wal = Vec::with_capacity(length);
    while wal.len() < length {
        wal.extend_from_slice(&fetch.next(end).await?);
    }
    wal.truncate(length);
    Ok(wal)
}

/// Writes those pages that carry a valid header. A safekeeper whose WAL begins inside this
/// segment has zeroes before that, which must not replace the headers of the backup.
fn write(pgdata: &Utf8Path, segment_start: Lsn, wal: &[u8], major: PgMajor) -> std::io::Result<()> {
    let name = segment_file_name(segment_start.segment_number(WAL_SEGMENT_SIZE as u64));
    let path = pgdata.join("pg_wal").join(name);
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    let magic = major.xlog_page_magic().to_le_bytes();
    for (index, page) in wal.chunks(XLOG_BLCKSZ).enumerate() {
        if page.starts_with(&magic) {
            file.seek(SeekFrom::Start((index * XLOG_BLCKSZ) as u64))?;
            file.write_all(page)?;
        }
    }
    Ok(())
}
