//! The redo engine in this process: [`wal_redo`] on one buffer per request.

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::{BLCKSZ, BlockNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::decode;

use super::{PostgresRedo, ReconstructError};

/// Applies records with the native engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcessRedo;

impl PostgresRedo for InProcessRedo {
    async fn apply(
        &self,
        key: Key,
        base: Option<Bytes>,
        records: &[(Lsn, Bytes)],
        major: PgMajor,
    ) -> Result<Bytes, ReconstructError> {
        let (rel, block) = checked_target(key, base.as_ref(), records)?;
        let mut page = vec![0; BLCKSZ];
        if let Some(base) = base {
            page.copy_from_slice(&base);
        }
        let buffer: &mut [u8; BLCKSZ] = page
            .as_mut_slice()
            .try_into()
            .map_err(|_| ReconstructError::NotAPage { key, length: 0 })?;
        for (lsn, raw) in records {
            let lsn = *lsn;
            let record = decode(raw, major).map_err(|source| ReconstructError::Decode {
                key,
                lsn,
                source,
            })?;
            wal_redo::redo_record(buffer, rel, block, &record, lsn, major)
                .map_err(|source| ReconstructError::Redo { key, source })?;
        }
        Ok(Bytes::from(page))
    }
}

/// The block that a key stands for, if records can be applied to it and to the base image.
pub(super) fn checked_target(
    key: Key,
    base: Option<&Bytes>,
    records: &[(Lsn, Bytes)],
) -> Result<(RelTag, BlockNumber), ReconstructError> {
    let lsn = records.first().map_or(Lsn::INVALID, |(lsn, _)| *lsn);
    let target = key.to_rel_block().ok_or(ReconstructError::NotARelationBlock { key, lsn })?;
    match base.filter(|base| base.len() != BLCKSZ) {
        Some(base) => Err(ReconstructError::NotAPage { key, length: base.len() }),
        None => Ok(target),
    }
}
