//! Visibility map bits that heap records clear. Up to early minors of 17 and 18 PostgreSQL
//! clears them during heap redo without naming the map's block in the record.

use pageserver_api::{Key, WalRecord};
use postgres_ffi::pg_constants::{heap, rmgr};
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, LeReader, RelTag};
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

/// Where a map page's bits begin.
pub(super) const PAGE_HEADER_SIZE: usize = 24;
/// Heap blocks per byte: two bits each.
pub(super) const HEAP_BLOCKS_PER_BYTE: u32 = 4;
/// Heap blocks per map page.
pub(super) const HEAP_BLOCKS_PER_PAGE: u32 =
    (BLCKSZ - PAGE_HEADER_SIZE) as u32 * HEAP_BLOCKS_PER_BYTE;

const CLEAR_ALL: u8 = 0x03;
const CLEAR_ALL_FROZEN: u8 = 0x02;

/// Flag in most records: bits of the (old) page were cleared.
const OLD_OR_ONLY_CLEARED: u8 = 1;
/// Flag in UPDATE: bits of the new page were cleared.
const NEW_CLEARED: u8 = 2;

/// Heap blocks of one relation that lost map bits.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cleared {
    new: Option<(RelTag, BlockNumber)>,
    old: Option<(RelTag, BlockNumber)>,
    bits: u8,
}

impl WalIngest {
    pub(super) async fn clear_visibility<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let cleared = cleared_blocks(record)?;
        let Some((heap_rel, _)) = cleared.new.or(cleared.old) else {
            return Ok(());
        };
        if record.blocks.iter().any(|r| r.rel.fork == ForkNumber::VisibilityMap) {
            // Later minors name the map's block: redo of the block clears the bits.
            return Ok(());
        }
        let rel = heap_rel.with_fork(ForkNumber::VisibilityMap);
        let pages = modification.keymap().find_rel_size(rel).await?.unwrap_or(0);
        let map_page = |block: BlockNumber| block / HEAP_BLOCKS_PER_PAGE;
        // A page beyond the end has no bits, and nothing to apply a change to.
        let present = |block: &BlockNumber| map_page(*block) < pages;
        let new = cleared.new.map(|(_, block)| block).filter(present);
        let old = cleared.old.map(|(_, block)| block).filter(present);
        let mut put = |page, new_heap_block, old_heap_block| {
            let flags = cleared.bits;
            if self.shard.is_key_local(&Key::rel_block(rel, page)) {
                let record =
                    WalRecord::ClearVisibilityMapFlags { new_heap_block, old_heap_block, flags };
                modification.put_rel_record(rel, page, record);
            }
        };
        match (new, old) {
            (Some(n), Some(o)) if map_page(n) == map_page(o) => put(map_page(n), new, old),
            (new, old) => {
                if let Some(block) = new {
                    put(map_page(block), new, None);
                }
                if let Some(block) = old {
                    put(map_page(block), None, old);
                }
            }
        }
        Ok(())
    }
}

/// Which heap blocks lost bits, from the flags in the main data.
fn cleared_blocks(record: &DecodedRecord<'_>) -> Result<Cleared, IngestErrorKind> {
    let flags_at = |offset: usize| -> Result<u8, IngestErrorKind> {
        let mut reader = LeReader::new(record.main_data);
        reader.skip(offset, "heap record")?;
        Ok(reader.u8("heap record flags")?)
    };
    let block = |id| record.block_by_id(id).map(|r| (r.rel, r.block));
    let first_if = |flags: u8| if flags & OLD_OR_ONLY_CLEARED != 0 { block(0) } else { None };
    let cleared = match (record.rmid, record.info & heap::OP_MASK) {
        (rmgr::HEAP, heap::INSERT) => {
            Cleared { new: first_if(flags_at(2)?), old: None, bits: CLEAR_ALL }
        }
        (rmgr::HEAP, heap::DELETE) => {
            Cleared { new: first_if(flags_at(7)?), old: None, bits: CLEAR_ALL }
        }
        (rmgr::HEAP, heap::UPDATE | heap::HOT_UPDATE) => {
            let flags = flags_at(7)?;
            let new = if flags & NEW_CLEARED != 0 { block(0) } else { None };
            let old_reference = block(1).filter(|(rel, _)| rel.fork == ForkNumber::Main);
            let old = old_reference.or(block(0)).filter(|_| flags & OLD_OR_ONLY_CLEARED != 0);
            Cleared { new, old, bits: CLEAR_ALL }
        }
        (rmgr::HEAP, heap::LOCK) => {
            Cleared { new: None, old: first_if(flags_at(7)?), bits: CLEAR_ALL_FROZEN }
        }
        (rmgr::HEAP2, heap::MULTI_INSERT) => {
            Cleared { new: first_if(flags_at(0)?), old: None, bits: CLEAR_ALL }
        }
        (rmgr::HEAP2, heap::LOCK_UPDATED) => {
            Cleared { new: None, old: first_if(flags_at(7)?), bits: CLEAR_ALL_FROZEN }
        }
        // No other heap operation clears bits.
        _ => Cleared::default(),
    };
    Ok(cleared)
}
