//! Endpoints that only read: at one position, or following the primary.

use std::time::Duration;

use anyhow::Context;
use postgres_client::ConnectOptions;
use postgres_ffi::checkpoint::CheckPoint;
use postgres_ffi::control_file::DB_SHUTDOWNED_IN_RECOVERY;
use postgres_ffi::pg_constants::{XLR_RMGR_INFO_MASK, rmgr, xlog};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;
use wal_decoder::stream::WalStreamDecoder;

use crate::boot::BootContext;
use crate::pgdata::Pgdata;
use crate::safekeeper::WalFetch;

/// PostgreSQL's timeline number; there is only one.
const TIMELINE_ID: u32 = 1;
/// A checkpoint record follows its redo pointer within the WAL of one checkpoint. Much more than
/// that without finding it means that the redo pointer is wrong.
const MAX_SEARCH_BYTES: u64 = 64 << 30;
/// How long the pageserver may take to learn of the primary's first checkpoint.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(30);
const CHECKPOINT_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A checkpoint as it stands in the WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// Where the record starts.
    pub lsn: Lsn,
    /// What it says.
    pub checkpoint: CheckPoint,
}

/// Builds the directory of an endpoint that stays at `lsn`.
pub async fn build_static(context: &BootContext, lsn: Lsn) -> anyhow::Result<Pgdata> {
    let config = context.config()?;
    let directory = context.receive_backup(lsn, Lsn::INVALID).await?;
    directory.finish(&config, &context.admin, true)
}

/// Builds the directory of an endpoint that follows the primary: pages as of the redo pointer
/// of the last checkpoint, and a control file that says "a standby was shut down here".
pub async fn build_hot_standby(context: &BootContext) -> anyhow::Result<Pgdata> {
    let config = context.config()?;
    let record = last_checkpoint(context).await?;
    let redo_lsn = record.checkpoint.redo;
    tracing::info!("starting from the checkpoint at {} with redo at {redo_lsn}", record.lsn);
    let mut directory = context.receive_backup(redo_lsn, Lsn::INVALID).await?;
    for segment in &directory.backup.wal_segments {
        // The real WAL comes from the safekeepers; the made-up segment would contradict it.
        let path = directory.pgdata.path().join(segment);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {path}"))?;
    }
    let control_file = &mut directory.control_file;
    control_file.set_state(DB_SHUTDOWNED_IN_RECOVERY);
    control_file.set_checkpoint(record.lsn, &record.checkpoint);
    control_file.set_min_recovery_point(redo_lsn, TIMELINE_ID);
    directory.finish(&config, &context.admin, true)
}

/// The last checkpoint that both pageserver and safekeepers know. On a timeline that was made
/// or first written just now the pageserver may still be at a checkpoint of before the WAL.
async fn last_checkpoint(context: &BootContext) -> anyhow::Result<CheckpointRecord> {
    let major = context.program.major();
    let deadline = tokio::time::Instant::now() + CHECKPOINT_TIMEOUT;
    loop {
        let redo_lsn = context.pageserver().last_checkpoint().await?.redo_lsn;
        let found = find_checkpoint(&context.endpoint.safekeepers, redo_lsn, major).await;
        match found {
            Ok(record) => return Ok(record),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error.context(
                    "the timeline has no checkpoint that a replica could start from; \
                     start a primary on it first",
                ));
            }
            Err(error) => tracing::debug!("will ask for the last checkpoint again: {error:#}"),
        }
        tokio::time::sleep(CHECKPOINT_POLL_INTERVAL).await;
    }
}

/// Asks one safekeeper after the other for the checkpoint record whose redo pointer is `redo`.
async fn find_checkpoint(
    safekeepers: &[ConnectOptions],
    redo_lsn: Lsn,
    major: PgMajor,
) -> anyhow::Result<CheckpointRecord> {
    let mut problems = Vec::new();
    for safekeeper in safekeepers {
        match read_checkpoint(safekeeper, redo_lsn, major).await {
            Ok(record) => return Ok(record),
            Err(error) => problems.push(format!("{}: {error:#}", safekeeper.address())),
        }
    }
    anyhow::bail!(
        "no safekeeper has the checkpoint with redo at {redo_lsn}: {}",
        problems.join("; ")
    )
}

async fn read_checkpoint(
    safekeeper: &ConnectOptions,
    redo_lsn: Lsn,
    major: PgMajor,
) -> anyhow::Result<CheckpointRecord> {
    let mut fetch = WalFetch::open(safekeeper, redo_lsn, None).await?;
    let mut search = CheckpointSearch::new(redo_lsn, major);
    while fetch.position().saturating_sub(redo_lsn) < MAX_SEARCH_BYTES {
        let wanted = fetch.position() + 1;
        let bytes = fetch.next(wanted).await?;
        if let Some(record) = search.feed(&bytes)? {
            return Ok(record);
        }
    }
    anyhow::bail!("no checkpoint record within {MAX_SEARCH_BYTES} bytes after {redo_lsn}")
}

/// Looks through WAL for the checkpoint record that belongs to a redo pointer.
#[derive(Debug)]
pub struct CheckpointSearch {
    decoder: WalStreamDecoder,
    redo_lsn: Lsn,
    major: PgMajor,
    /// Where the next record starts.
    next_record: Lsn,
}

impl CheckpointSearch {
    /// Begins at the redo pointer, which is the start of a record.
    pub fn new(redo_lsn: Lsn, major: PgMajor) -> Self {
        let decoder = WalStreamDecoder::new(redo_lsn, major);
        Self { decoder, redo_lsn, major, next_record: redo_lsn }
    }

    /// Takes the next bytes; returns the record once it is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Option<CheckpointRecord>> {
        self.decoder.feed_bytes(bytes);
        while let Some((end, raw)) = self.decoder.poll_decode()? {
            let lsn = self.next_record;
            self.next_record = end.normalize(WAL_SEGMENT_SIZE as u64);
            let record = wal_decoder::record::decode(&raw, self.major)?;
            let info = record.info & XLR_RMGR_INFO_MASK;
            let is_checkpoint = record.rmid == rmgr::XLOG
                && matches!(info, xlog::CHECKPOINT_ONLINE | xlog::CHECKPOINT_SHUTDOWN);
            if !is_checkpoint {
                continue;
            }
            let checkpoint = CheckPoint::decode(record.main_data)?;
            if checkpoint.redo == self.redo_lsn {
                return Ok(Some(CheckpointRecord { lsn, checkpoint }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
