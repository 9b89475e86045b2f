//! Turns what a read gathered for one key, an image and the changes after it, into the value.
//!
//! PostgreSQL's own records go to a [`PostgresRedo`] engine, in this process or in a helper
//! process; which one is [`RedoManager`]'s to say. The storage's own records, and PostgreSQL's for
//! pages that only a side effect of theirs changes, are applied by [`native`].
//! Nothing here knows layers or timelines.

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use pageserver_api::{Key, WalRecord};
use postgres_ffi::PgMajor;
use utils::Lsn;

mod failures;
mod helper;
mod in_process;
mod manager;
mod metrics;
mod native;

pub use helper::HelperError;
pub use in_process::InProcessRedo;
pub use manager::RedoManager;
pub use native::NativeRecordError;

/// Why a value could not be reconstructed. Trying again is of no use: what a new helper process
/// could mend has been tried with one.
#[derive(Debug, thiserror::Error)]
pub enum ReconstructError {
    /// There is neither an image nor a record.
    #[error("invalid WAL redo request with no records for key {key}")]
    Nothing {
        /// The key.
        key: Key,
    },
    /// The first record changes something that is not there.
    #[error(
        "invalid WAL redo request with no base image for key {key}: the record at {lsn} does not initialise it"
    )]
    NoBaseImage {
        /// The key.
        key: Key,
        /// LSN of the first record.
        lsn: Lsn,
    },
    /// PostgreSQL records were stored under a key that is no relation block.
    #[error("key {key} is not a relation block, but has a PostgreSQL record at {lsn}")]
    NotARelationBlock {
        /// The key.
        key: Key,
        /// LSN of the record.
        lsn: Lsn,
    },
    /// The base image of a relation block is not a page.
    #[error("base image of key {key} has {length} bytes, which is not a page")]
    NotAPage {
        /// The key.
        key: Key,
        /// Length found.
        length: usize,
    },
    /// A stored record cannot be taken apart.
    #[error("stored WAL record at {lsn} for key {key} cannot be decoded")]
    Decode {
        /// The key.
        key: Key,
        /// End of the record.
        lsn: Lsn,
        /// What is wrong with it.
        source: wal_decoder::RecordDecodeError,
    },
    /// A PostgreSQL record cannot be applied.
    #[error("error applying WAL records to key {key}")]
    Redo {
        /// The key.
        key: Key,
        /// What the engine said.
        source: wal_redo::RedoError,
    },
    /// The helper process gave no page.
    #[error("error applying WAL records to key {key} in the helper process")]
    Helper {
        /// The key.
        key: Key,
        /// What it said.
        source: HelperError,
    },
    /// A record cannot be applied that [`native`] applies.
    #[error("error applying a storage record at {lsn} to key {key}")]
    Native {
        /// The key.
        key: Key,
        /// LSN of the record.
        lsn: Lsn,
        /// What is wrong with it.
        source: NativeRecordError,
    },
}

/// Applies PostgreSQL's WAL records to one page.
pub trait PostgresRedo: Sync {
    /// Applies `records`, ascending by LSN, to `base` (`None`: the first record initialises
    /// the page) and returns the page.
    fn apply(
        &self,
        key: Key,
        base: Option<Bytes>,
        records: &[(Lsn, Bytes)],
        major: PgMajor,
    ) -> impl Future<Output = Result<Bytes, ReconstructError>> + Send;
}

/// Reconstructs `key` from an image and the records after it, ascending by LSN.
pub async fn reconstruct(
    engine: &impl PostgresRedo,
    key: Key,
    base: Option<(Lsn, Bytes)>,
    records: Vec<(Lsn, WalRecord)>,
    major: PgMajor,
) -> Result<Bytes, ReconstructError> {
    let mut value = base.map(|(_, image)| image);
    let Some((first_lsn, first)) = records.first() else {
        return value.ok_or(ReconstructError::Nothing { key });
    };
    let initialises = matches!(first, WalRecord::Postgres { will_init: true, .. });
    if value.is_none() && !initialises {
        return Err(ReconstructError::NoBaseImage { key, lsn: *first_lsn });
    }
    let started = Instant::now();
    let (count, bytes) = (records.len(), postgres_bytes(&records));
    let mut batch = Vec::new();
    for (lsn, record) in records {
        match record {
            WalRecord::Postgres { record, .. } if !native::takes_postgres_records(key) => {
                batch.push((lsn, record));
            }
            own => {
                let below = apply_batch(engine, key, value, &mut batch, major).await?;
                let below = below.ok_or(ReconstructError::NoBaseImage { key, lsn })?;
                let after = native::apply(key, lsn, below, own, major)
                    .map_err(|source| ReconstructError::Native { key, lsn, source })?;
                value = Some(after);
            }
        }
    }
    let value = apply_batch(engine, key, value, &mut batch, major).await?;
    metrics::observe(started.elapsed(), count, bytes);
    value.ok_or(ReconstructError::Nothing { key })
}

/// Applies and empties a run of PostgreSQL records.
async fn apply_batch(
    engine: &impl PostgresRedo,
    key: Key,
    value: Option<Bytes>,
    batch: &mut Vec<(Lsn, Bytes)>,
    major: PgMajor,
) -> Result<Option<Bytes>, ReconstructError> {
    if batch.is_empty() {
        return Ok(value);
    }
    let records = std::mem::take(batch);
    engine.apply(key, value, &records, major).await.map(Some)
}

fn postgres_bytes(records: &[(Lsn, WalRecord)]) -> usize {
    let length = |(_, record): &(Lsn, WalRecord)| match record {
        WalRecord::Postgres { record, .. } => record.len(),
        WalRecord::ClearVisibilityMapFlags { .. }
        | WalRecord::ClogSetCommitted { .. }
        | WalRecord::ClogSetAborted { .. }
        | WalRecord::MultixactOffsetCreate { .. }
        | WalRecord::MultixactOffsetsCreate { .. }
        | WalRecord::MultixactMembersCreate { .. }
        | WalRecord::AuxFile { .. } => 0,
    };
    records.iter().map(length).sum()
}

#[cfg(test)]
mod tests;
