//! Visibility map pages: two bits per heap block.
//!
//! VISIBLE sets them. Heap records of newer minor releases clear them through references to
//! the map page; for the other records the storage has a change of its own, which uses
//! [`clear_bits`] too.

use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber};

use crate::error::RedoFailure;
use crate::page::{ALL_VISIBLE, HEADER_BYTES, Page};
use crate::target::{Stamp, Target};

/// Heap blocks that one map page describes.
pub(crate) const HEAP_BLOCKS_PER_PAGE: u32 = ((BLCKSZ - HEADER_BYTES) * 4) as u32;
const ALL_FROZEN_BIT: u8 = 0x02;
const VALID_BITS: u8 = 0x03;
const UPDATE_OLD_ALL_VISIBLE_CLEARED: u8 = 0x01;
/// Reference of an UPDATE to the map page of the new heap block.
const UPDATE_MAP_OF_NEW: u8 = 2;
/// Reference of an UPDATE to the map page of the old heap block.
const UPDATE_MAP_OF_OLD: u8 = 3;

fn place(heap_block: BlockNumber) -> (usize, u32) {
    let index = heap_block % HEAP_BLOCKS_PER_PAGE;
    (HEADER_BYTES + index as usize / 4, (index % 4) * 2)
}

/// VISIBLE, the map page: sets the bits of one heap block.
pub(super) fn set(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    // Newer versions also mark records of catalogs here.
    let bits = main.u8("visibility flags")? & VALID_BITS;
    if page.is_new() {
        page.init(0)?;
    }
    let (at, shift) = place(target.block_number(1)?);
    let byte = page.u8(at)?;
    if (byte >> shift) & VALID_BITS == bits {
        return Ok(Stamp::Keep);
    }
    page.set_u8(at, byte | bits << shift)?;
    Ok(Stamp::EndLsn)
}

/// VISIBLE, the heap page. Its LSN stays: a server without checksums does not stamp it.
pub(super) fn mark_heap_page(page: &mut Page) -> Result<Stamp, RedoFailure> {
    page.change_flags(ALL_VISIBLE, 0)?;
    Ok(Stamp::Keep)
}

/// Clears `bits` of one heap block; says whether any was set.
pub(crate) fn clear_bits(
    page: &mut Page,
    heap_block: BlockNumber,
    bits: u8,
) -> Result<bool, RedoFailure> {
    let (at, shift) = place(heap_block);
    let byte = page.u8(at)?;
    let mask = (bits & VALID_BITS) << shift;
    page.set_u8(at, byte & !mask)?;
    Ok(byte & mask != 0)
}

fn stamp_if(cleared: bool) -> Stamp {
    if cleared { Stamp::EndLsn } else { Stamp::Keep }
}

/// The map page of an INSERT, MULTI_INSERT or DELETE.
pub(super) fn clear_for_change(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    clear_bits(page, target.block_number(0)?, VALID_BITS).map(stamp_if)
}

/// The map page of a LOCK or LOCK_UPDATED: the block stays all-visible.
pub(super) fn clear_for_lock(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    clear_bits(page, target.block_number(0)?, ALL_FROZEN_BIT).map(stamp_if)
}

/// A map page of an UPDATE, of the new heap block, the old one, or both.
pub(super) fn clear_for_update(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let new_block = target.block_number(0)?;
    let old_reference = target.record.block_by_id(1);
    let old_block = old_reference
        .filter(|old| old.rel.fork == ForkNumber::Main)
        .map_or(new_block, |old| old.block);
    match target.reference.id {
        UPDATE_MAP_OF_NEW => {
            let mut main = target.main_data();
            main.skip(7, "old tuple")?;
            let flags = main.u8("update flags")?;
            let mut cleared = clear_bits(page, new_block, VALID_BITS)?;
            let same_page = old_block / HEAP_BLOCKS_PER_PAGE == target.reference.block;
            if flags & UPDATE_OLD_ALL_VISIBLE_CLEARED != 0 && same_page {
                cleared |= clear_bits(page, old_block, VALID_BITS)?;
            }
            Ok(stamp_if(cleared))
        }
        UPDATE_MAP_OF_OLD => clear_bits(page, old_block, VALID_BITS).map(stamp_if),
        _ => target.unexpected(),
    }
}
