//! What each WAL record changes in a timeline: record in, values of a batch out.
//!
//! Owns the tracked checkpoint. Resource managers whose records change more than the blocks
//! they name have a module each; the blocks themselves are handled in [`blocks`]. Nothing here
//! reconstructs pages or knows layers.

mod blocks;
mod checkpoint;
mod commit_ts;
mod database;
pub mod import;
mod messages;
mod metrics;
mod relmap;
mod slru;
mod smgr;
mod tablespace;
mod visibility_map;
mod xact;

use pageserver_api::shard::ShardIdentity;
use postgres_ffi::pg_constants::{dbase, rmgr, smgr as smgr_op};
use postgres_ffi::{CheckPoint, PgMajor, TooShort};
use utils::Lsn;
use wal_decoder::DecodedRecord;
use wal_redo::RedoFailure;
use wal_redo::image::ImageError;

use crate::keymap::{
    DatadirModification, KeyReader, KeyStore, Keymap, KeymapError, ModificationError,
};

pub use metrics::WAL_INGEST;

/// Why a record could not be ingested.
#[derive(Debug, thiserror::Error)]
#[error("could not ingest record at {lsn} (rmgr {rmid}, info {info:#04X})")]
pub struct IngestError {
    /// End of the record.
    pub lsn: Lsn,
    /// Resource manager.
    pub rmid: u8,
    /// Info byte.
    pub info: u8,
    /// What is wrong.
    pub source: IngestErrorKind,
}

/// What is wrong with a record, or with the timeline it is ingested into.
#[derive(Debug, thiserror::Error)]
pub enum IngestErrorKind {
    /// The record's body ends early.
    #[error("malformed record: {0}")]
    Malformed(#[from] TooShort),
    /// The resource manager has no such operation.
    #[error("unknown operation")]
    UnknownOperation,
    /// A number in the record is outside its range.
    #[error("impossible {what}: {value}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A server was promoted, or recovered to a point of its past.
    #[error(
        "the record begins PostgreSQL timeline {to} after timeline {from}, which cannot be followed: a \
         branch of the storage takes the place of a promotion"
    )]
    TimelineSwitch {
        /// PostgreSQL's timeline before.
        from: u32,
        /// The one that begins.
        to: u32,
    },
    /// A page image in the record is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A commit record has no commit timestamp.
    #[error(transparent)]
    CommitTimestamp(#[from] RedoFailure),
    /// A change could not be made.
    #[error(transparent)]
    Modification(#[from] ModificationError),
}

impl From<KeymapError> for IngestErrorKind {
    fn from(error: KeymapError) -> Self {
        IngestErrorKind::Modification(error.into())
    }
}

/// Turns a timeline's records into changes, in order.
#[derive(Debug)]
pub struct WalIngest {
    shard: ShardIdentity,
    major: PgMajor,
    checkpoint: CheckPoint,
    checkpoint_changed: bool,
    /// Whether commit timestamps are recorded, as the stored control file says.
    tracks_commit_timestamps: bool,
}

impl WalIngest {
    /// Starts after the last record at or before `lsn`.
    pub async fn new<R: KeyReader>(
        reader: &R,
        shard: ShardIdentity,
        major: PgMajor,
        lsn: Lsn,
    ) -> Result<WalIngest, KeymapError> {
        let contents = Keymap::at(reader, lsn);
        let checkpoint = contents.checkpoint().await?;
        let tracks_commit_timestamps = contents.tracks_commit_timestamps().await?;
        let checkpoint_changed = false;
        Ok(WalIngest { shard, major, checkpoint, checkpoint_changed, tracks_commit_timestamps })
    }

    /// The checkpoint as of the last record.
    pub fn checkpoint(&self) -> &CheckPoint {
        &self.checkpoint
    }

    /// Adds the changes of the record that ends at `lsn` to the batch. Returns whether there
    /// were any that the batch did not have yet. After an error neither this nor the batch can
    /// be used further.
    pub async fn ingest_record<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        lsn: Lsn,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<bool, IngestError> {
        WAL_INGEST.records_received.inc();
        let changed = self
            .ingest(record, lsn, modification)
            .await
            .map_err(|source| IngestError { lsn, rmid: record.rmid, info: record.info, source })?;
        if changed {
            WAL_INGEST.records_committed.inc();
        } else {
            WAL_INGEST.records_filtered.inc();
        }
        Ok(changed)
    }

    async fn ingest<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        lsn: Lsn,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<bool, IngestErrorKind> {
        if reads_pages_back(record) && modification.has_pending_values() {
            // Pending records cannot be made into pages; committed ones can.
            modification.commit().await?;
        }
        let pending_before = modification.pending_count();
        modification.set_lsn(lsn)?;
        if record.xid != 0 {
            self.checkpoint_changed |= self.checkpoint.advance_next_xid(record.xid);
        }
        utils::sleep_failpoint!("wal-ingest-record-sleep");
        self.ingest_special(record, modification).await?;
        self.ingest_blocks(record, modification).await?;
        if std::mem::take(&mut self.checkpoint_changed) {
            modification.put_checkpoint(&self.checkpoint);
        }
        Ok(modification.pending_count() > pending_before)
    }

    /// Changes beyond the blocks that the record names.
    async fn ingest_special<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        match record.rmid {
            rmgr::XLOG => self.ingest_xlog(record, modification).await,
            rmgr::XACT => self.ingest_xact(record, modification).await,
            rmgr::SMGR => self.ingest_smgr(record, modification).await,
            rmgr::CLOG => self.ingest_clog(record, modification).await,
            rmgr::DBASE => self.ingest_dbase(record, modification).await,
            rmgr::TBLSPC => self.ingest_tablespace(record, modification).await,
            rmgr::MULTIXACT => self.ingest_multixact(record, modification).await,
            rmgr::RELMAP => self.ingest_relmap(record, modification).await,
            rmgr::STANDBY => self.ingest_standby(record),
            rmgr::HEAP | rmgr::HEAP2 => self.clear_visibility(record, modification).await,
            rmgr::COMMIT_TS => self.ingest_commit_ts(record, modification).await,
            rmgr::REPLORIGIN => self.ingest_replorigin(record, modification),
            rmgr::LOGICALMSG => self.ingest_logical_message(record, modification).await,
            // Everything that others log is in the blocks.
            _ => Ok(()),
        }
    }

    /// The 64-bit form of a recent transaction id. Up to PostgreSQL 16 prepared transactions
    /// are known by their 32-bit ids.
    fn full_xid(&self, xid: u32) -> u64 {
        match self.major {
            PgMajor::V15 | PgMajor::V16 => u64::from(xid),
            PgMajor::V17 | PgMajor::V18 => {
                let mut epoch = self.checkpoint.next_xid >> 32;
                if xid > self.checkpoint.next_xid_low() {
                    epoch = epoch.saturating_sub(1);
                }
                epoch << 32 | u64::from(xid)
            }
        }
    }
}

/// Whether ingesting the record reads pages of relations, which may not be pending then: a
/// database is copied, or a part of a visibility map page is cleared.
fn reads_pages_back(record: &DecodedRecord<'_>) -> bool {
    matches!(
        (record.rmid, record.rmgr_info()),
        (rmgr::DBASE, dbase::CREATE_FILE_COPY) | (rmgr::SMGR, smgr_op::TRUNCATE)
    )
}

#[cfg(test)]
mod tests;
