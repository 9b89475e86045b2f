//! The blocks a record names: each local one gets a value, and relations grow to hold them.

use bytes::Bytes;
use pageserver_api::{Key, WalRecord};
use postgres_ffi::page::{page_is_new, set_page_lsn};
use postgres_ffi::pg_constants::{rmgr, xlog};
use postgres_ffi::{BLCKSZ, BlockNumber, RelTag};
use wal_decoder::DecodedRecord;
use wal_decoder::record::{BlockReference, ImageCompression};

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyReader, KeyStore};

static ZERO_PAGE: [u8; BLCKSZ] = [0; BLCKSZ];

impl WalIngest {
    pub(super) async fn ingest_blocks<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        for reference in &record.blocks {
            let local = self.shard.is_key_local(&Key::rel_block(reference.rel, reference.block));
            // Shard 0 answers for relation sizes, so it follows the blocks of other shards too.
            let is_new = if local || self.shard.is_shard_zero() {
                self.extend_to_block(reference.rel, reference.block, modification).await?
            } else {
                false
            };
            if local && is_new && !initialises(reference) {
                self.put_new_block(record, reference, modification);
            } else if local {
                put_block(record, reference, modification)?;
            }
        }
        Ok(())
    }

    /// A record may change a block that was never written, as the first bit of a visibility map
    /// page is set: its redo begins with zeroes. What the block held before a truncation must
    /// not come back, so the result is stored whole.
    fn put_new_block<S: KeyStore>(
        &self,
        record: &DecodedRecord<'_>,
        reference: &BlockReference<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) {
        let (rel, block, lsn) = (reference.rel, reference.block, modification.lsn());
        let mut page = ZERO_PAGE;
        match wal_redo::redo_record(&mut page, rel, block, record, lsn, self.major) {
            Ok(_) => modification.put_rel_page_image(rel, block, Bytes::copy_from_slice(&page)),
            // Kept as it is: whoever reads the block is told what could not be applied.
            Err(_) => {
                let record = WalRecord::Postgres { will_init: true, record: record.raw.clone() };
                modification.put_rel_record(rel, block, record);
            }
        }
    }

    /// Makes the relation exist and reach up to the block, and says whether it did not before.
    /// Blocks skipped over become zero.
    pub(super) async fn extend_to_block<S: KeyStore>(
        &self,
        rel: RelTag,
        block: BlockNumber,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<bool, IngestErrorKind> {
        let lsn = modification.lsn();
        let cached = modification.rel_size_cache().get(rel, lsn);
        if cached.is_some_and(|blocks| block < blocks) {
            return Ok(false);
        }
        let new_size = block
            .checked_add(1)
            .ok_or(IngestErrorKind::OutOfRange { what: "block number", value: u64::from(block) })?;
        let old_size = match modification.keymap().find_rel_size(rel).await? {
            Some(blocks) => blocks,
            None => {
                modification.create_relation(rel, 0).await?;
                0
            }
        };
        if block < old_size {
            return Ok(false);
        }
        modification.extend_relation(rel, new_size).await?;
        for gap in old_size..block {
            if self.shard.is_key_local(&Key::rel_block(rel, gap)) {
                modification.put_rel_page_image(rel, gap, Bytes::from_static(&ZERO_PAGE));
            }
        }
        Ok(true)
    }
}

/// Whether the block's content before the record does not matter.
fn initialises(reference: &BlockReference<'_>) -> bool {
    reference.will_init || reference.image.as_ref().is_some_and(|image| image.apply)
}

fn put_block<S: KeyStore>(
    record: &DecodedRecord<'_>,
    reference: &BlockReference<'_>,
    modification: &mut DatadirModification<'_, S>,
) -> Result<(), IngestErrorKind> {
    let applied_image = reference.image.as_ref().filter(|image| image.apply);
    let plain = |compression| compression == ImageCompression::None;
    match applied_image {
        // Only these records are nothing but their images: others may change the page after
        // restoring it.
        Some(image)
            if is_page_image(record) && plain(image.compression) && !image.bytes.is_empty() =>
        {
            let mut page = wal_redo::image::restore(image)?;
            if !page_is_new(&page) {
                set_page_lsn(&mut page, modification.lsn());
            }
            let image = Bytes::copy_from_slice(page.as_slice());
            modification.put_rel_page_image(reference.rel, reference.block, image);
        }
        _ => {
            let will_init = initialises(reference);
            let record = WalRecord::Postgres { will_init, record: record.raw.clone() };
            modification.put_rel_record(reference.rel, reference.block, record);
        }
    }
    Ok(())
}

fn is_page_image(record: &DecodedRecord<'_>) -> bool {
    record.rmid == rmgr::XLOG && matches!(record.info, xlog::FPI | xlog::FPI_FOR_HINT)
}

#[cfg(test)]
mod tests;
