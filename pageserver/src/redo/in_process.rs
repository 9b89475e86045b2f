//! The redo engine in this process: [`wal_redo`] on one buffer per request.

use bytes::Bytes;
use pageserver_api::Key;
use postgres_ffi::{BLCKSZ, PgMajor};
use utils::Lsn;
use wal_decoder::record::decode;

use super::{PostgresRedo, ReconstructError};

/// Applies records with the native engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcessRedo;

impl PostgresRedo for InProcessRedo {
    fn apply(
        &self,
        key: Key,
        base: Option<Bytes>,
        records: &[(Lsn, Bytes)],
        major: PgMajor,
    ) -> Result<Bytes, ReconstructError> {
        let Some((rel, block)) = key.to_rel_block() else {
            let lsn = records.first().map_or(Lsn::INVALID, |(lsn, _)| *lsn);
            return Err(ReconstructError::NotARelationBlock { key, lsn });
        };
        let mut page = vec![0; BLCKSZ];
        if let Some(base) = base {
            if base.len() != BLCKSZ {
                return Err(ReconstructError::NotAPage { key, length: base.len() });
            }
            page.copy_from_slice(&base);
        }
        let buffer: &mut [u8; BLCKSZ] = page
            .as_mut_slice()
            .try_into()
            .map_err(|_| ReconstructError::NotAPage { key, length: 0 })?;
        for (lsn, raw) in records {
            let lsn = *lsn;
            let record = decode(raw.clone(), major).map_err(|source| ReconstructError::Decode {
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
