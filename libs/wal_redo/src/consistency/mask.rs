//! What each resource manager's pages may differ in.

use postgres_ffi::{BLCKSZ, BlockNumber};

use crate::error::RedoFailure;
use crate::heap::tuple::{HeapTuple, XMAX_COMMITTED, XMAX_INVALID, XMIN_FROZEN};
use crate::item_pointer::ItemPointer;
use crate::page::{
    ALL_VISIBLE, HAS_FREE_LINES, HEADER_BYTES, ItemState, LinePointer, Page, max_align,
};
use crate::{brin, btree, gin, gist, hash};

/// pd_flags: an update found no room (a hint).
const PAGE_FULL: u16 = 0x0002;
/// t_infomask bits that describe transactions.
const TRANSACTION_BITS: u16 = 0xFFF0;
/// Offset in the ctid of a tuple whose insertion is not confirmed yet.
const SPECULATIVE_OFFSET: u16 = 0xFFFE;

/// Sequences and generic pages: only the unused space.
pub(super) fn plain(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    unused_space(page)
}

pub(super) fn heap(page: &mut Page, block: BlockNumber) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    unused_space(page)?;
    for offset in 1..=page.max_offset()? {
        let pointer = page.line_pointer(offset)?;
        if pointer.state == ItemState::Normal {
            heap_tuple(page, ItemPointer { block, offset })?;
        }
        if pointer.has_storage() {
            let (at, length) = page.stored_item(offset)?;
            page.slice_mut(at + length, max_align(length) - length)?.fill(0);
        }
    }
    Ok(())
}

fn heap_tuple(page: &mut Page, own: ItemPointer) -> Result<(), RedoFailure> {
    let tuple = HeapTuple::find(page, own.offset)?;
    if tuple.infomask(page)? & XMIN_FROZEN == XMIN_FROZEN {
        tuple.change_infomask(page, 0, XMAX_INVALID | XMAX_COMMITTED)?;
    } else {
        tuple.change_infomask(page, 0, TRANSACTION_BITS)?;
    }
    tuple.set_xvac(page, 0)?;
    let ctid = tuple.ctid(page)?;
    if ctid.offset == SPECULATIVE_OFFSET {
        // The primary keeps a token here until the insertion is confirmed.
        tuple.set_ctid(page, own)?;
    }
    Ok(())
}

pub(super) fn btree(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    unused_space(page)?;
    let special = page.special(btree::SPECIAL_BYTES)?;
    let flags = page.u16(special + btree::FLAGS_AT)?;
    if flags & btree::LEAF != 0 {
        line_pointer_states(page)?;
    }
    let cleared = btree::HAS_GARBAGE | btree::SPLIT_END;
    page.set_u16(special + btree::FLAGS_AT, flags & !cleared)?;
    page.set_u16(special + btree::CYCLE_ID_AT, 0)
}

pub(super) fn brin(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    let special = page.special(brin::SPECIAL_BYTES)?;
    let bounds = page.bounds()?;
    let has_hole = match page.u16(special + brin::PAGE_TYPE_AT)? {
        brin::REGULAR => true,
        brin::META => bounds.lower > HEADER_BYTES,
        _ => false,
    };
    if has_hole {
        unused_space(page)?;
    }
    let flags = page.u16(special + brin::FLAGS_AT)?;
    page.set_u16(special + brin::FLAGS_AT, flags & !brin::EVACUATE)
}

pub(super) fn hash(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    unused_space(page)?;
    let special = page.special(hash::SPECIAL_BYTES)?;
    let flags = page.u16(special + hash::FLAGS_AT)?;
    match flags & hash::PAGE_TYPE {
        0 => return content(page),
        hash::BUCKET | hash::OVERFLOW => line_pointer_states(page)?,
        _ => {}
    }
    page.set_u16(special + hash::FLAGS_AT, flags & !hash::HAS_DEAD_TUPLES)
}

pub(super) fn gin(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    let special = page.special(gin::SPECIAL_BYTES)?;
    if page.u16(special + gin::FLAGS_AT)? & gin::DELETED != 0 {
        content(page)
    } else if page.bounds()?.lower > HEADER_BYTES {
        unused_space(page)
    } else {
        Ok(())
    }
}

pub(super) fn gist(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    unused_space(page)?;
    let special = page.special(gist::SPECIAL_BYTES)?;
    page.set_u64(special + gist::NSN_AT, 0)?;
    let flags = page.u16(special + gist::FLAGS_AT)?;
    if flags & gist::LEAF != 0 {
        line_pointer_states(page)?;
    }
    // Minor releases disagree on whether VACUUM marks deletions, which nothing reads.
    let masked = flags & !(gist::HAS_GARBAGE | gist::TUPLES_DELETED) | gist::FOLLOW_RIGHT;
    page.set_u16(special + gist::FLAGS_AT, masked)
}

pub(super) fn spgist(page: &mut Page) -> Result<(), RedoFailure> {
    page.clear_lsn_and_checksum()?;
    hints(page)?;
    unused_space(page)
}

/// Everything after the header, and where the header says that it lies.
fn content(page: &mut Page) -> Result<(), RedoFailure> {
    page.slice_mut(HEADER_BYTES, BLCKSZ - HEADER_BYTES)?.fill(0);
    page.set_lower(0)?;
    page.set_upper(0)
}

/// Members of the page header that readers set without logging.
fn hints(page: &mut Page) -> Result<(), RedoFailure> {
    page.set_prune_xid(0)?;
    page.change_flags(0, PAGE_FULL | HAS_FREE_LINES | ALL_VISIBLE)
}

fn unused_space(page: &mut Page) -> Result<(), RedoFailure> {
    let bounds = page.bounds()?;
    page.slice_mut(bounds.lower, bounds.upper - bounds.lower)?.fill(0);
    Ok(())
}

/// Readers of an index mark items as dead without logging.
fn line_pointer_states(page: &mut Page) -> Result<(), RedoFailure> {
    for offset in 1..=page.max_offset()? {
        let pointer = page.line_pointer(offset)?;
        if pointer.state != ItemState::Unused {
            page.set_line_pointer(offset, LinePointer { state: ItemState::Unused, ..pointer })?;
        }
    }
    Ok(())
}
