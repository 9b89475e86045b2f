//! Tablespaces of the user: created and dropped. Where one lies is of no interest: the record's
//! path means nothing on another machine.

use postgres_ffi::pg_constants::tblspc;
use postgres_ffi::tablespace::is_user_tablespace;
use postgres_ffi::{LeReader, Oid};
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_tablespace<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let spcnode = read_tablespace(record)?;
        match record.rmgr_info() {
            tblspc::CREATE => Ok(modification.create_tablespace(spcnode).await?),
            // A server logs this once it has found, and removed, nothing but empty directories.
            tblspc::DROP => Ok(modification.drop_tablespace(spcnode).await?),
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }
}

/// Every operation's record begins with the tablespace.
fn read_tablespace(record: &DecodedRecord<'_>) -> Result<Oid, IngestErrorKind> {
    let spcnode = LeReader::new(record.main_data).u32("tablespace")?;
    if !is_user_tablespace(spcnode) {
        let value = u64::from(spcnode);
        return Err(IngestErrorKind::OutOfRange { what: "tablespace", value });
    }
    Ok(spcnode)
}

#[cfg(test)]
mod tests;
