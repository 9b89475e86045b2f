//! Relation maps.

use postgres_ffi::LeReader;
use postgres_ffi::pg_constants::relmap;
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

impl WalIngest {
    pub(super) async fn ingest_relmap<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        match record.rmgr_info() {
            relmap::UPDATE => {
                let mut body = LeReader::new(record.main_data);
                let (dbnode, spcnode) = (body.u32("database")?, body.u32("tablespace")?);
                let length = body.u32("relation map length")?;
                let map = body.bytes(length as usize, "relation map")?;
                let map = record.raw.slice_ref(map);
                Ok(modification.put_relmap(spcnode, dbnode, map).await?)
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }
}
