//! Resource manager GIST: generalised search trees.
//!
//! Facts: PostgreSQL's `gistxlog.c` and `gist.h`.

use crate::error::RedoFailure;
use crate::index_tuple::append_tuples;
use crate::page::{HEADER_BYTES, Page};
use crate::target::{Stamp, Target};

const PAGE_UPDATE: u8 = 0x00;
const DELETE: u8 = 0x10;
const PAGE_SPLIT: u8 = 0x30;
const PAGE_DELETE: u8 = 0x60;
const ASSIGN_LSN: u8 = 0x70;

pub(crate) const SPECIAL_BYTES: usize = 16;
pub(crate) const NSN_AT: usize = 0;
const RIGHT_LINK_AT: usize = 8;
pub(crate) const FLAGS_AT: usize = 12;
const PAGE_ID_AT: usize = 14;
const PAGE_ID: u16 = 0xFF81;

pub(crate) const LEAF: u16 = 0x01;
const DELETED: u16 = 0x02;
/// Tuples were deleted since the page was made. Nothing reads it.
pub(crate) const TUPLES_DELETED: u16 = 0x04;
pub(crate) const FOLLOW_RIGHT: u16 = 0x08;
pub(crate) const HAS_GARBAGE: u16 = 0x10;

const NO_PAGE: u32 = u32::MAX;
const ROOT_BLOCK: u32 = 0;

/// Applies a GIST record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    match (target.record.rmgr_info(), target.reference.id) {
        (PAGE_UPDATE, 0) => update(page, target)?,
        (PAGE_UPDATE, 1) | (PAGE_SPLIT, 0) => clear_follow_right(page, target)?,
        (DELETE, 0) => delete(page, target)?,
        (PAGE_SPLIT, part) => split(page, target, part)?,
        (PAGE_DELETE, 0) => mark_deleted(page, target)?,
        (PAGE_DELETE, 1) => {
            let mut main = target.main_data();
            main.skip(8, "deleting transaction")?;
            page.delete_index_item(main.u16("downlink number")?)?;
        }
        (PAGE_UPDATE..=ASSIGN_LSN, _) => return target.unexpected(),
        _ => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

/// What happens to a page even if it was restored from an image: the image was taken before
/// the LSN was known, which is what the page has to remember.
pub(crate) fn after_restore(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    match (target.record.rmgr_info(), target.reference.id) {
        (PAGE_UPDATE, 1) | (PAGE_SPLIT, 0) => clear_follow_right(page, target),
        _ => Ok(()),
    }
}

fn change_flags(page: &mut Page, set: u16, clear: u16) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + FLAGS_AT;
    let flags = page.u16(at)?;
    page.set_u16(at, flags & !clear | set)
}

/// Node sequence number: the LSN of the split, high half first.
fn set_nsn(page: &mut Page, nsn: u64) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + NSN_AT;
    page.set_u32(at, (nsn >> 32) as u32)?;
    page.set_u32(at + 4, nsn as u32)
}

fn clear_follow_right(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    set_nsn(page, target.end_lsn.0)?;
    change_flags(page, 0, FOLLOW_RIGHT)
}

fn update(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let deleted = main.u16("deleted item count")?;
    let inserted = main.u16("inserted item count")?;
    let mut data = target.block_data();
    let offsets = data.u16_list(usize::from(deleted), "deleted items")?;
    if let ([offset], 1) = (offsets.as_slice(), inserted) {
        return page.overwrite_item(*offset, data.rest());
    }
    if !offsets.is_empty() {
        page.delete_index_items(&offsets)?;
        let special = page.special(SPECIAL_BYTES)?;
        if page.u16(special + FLAGS_AT)? & LEAF != 0 {
            change_flags(page, TUPLES_DELETED, 0)?;
        }
    }
    if append_tuples(page, data.rest())? != u32::from(inserted) {
        return Err(RedoFailure::BadRecord("another number of tuples than announced"));
    }
    Ok(())
}

fn delete(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    let count = usize::from(main.u16("deleted item count")?);
    // From 16 on a flag and padding come before the numbers.
    let padding = main.remaining().saturating_sub(count * 2);
    main.skip(padding, "catalog flag")?;
    let offsets = main.u16_list(count, "deleted items")?;
    page.delete_index_items(&offsets)?;
    change_flags(page, TUPLES_DELETED, HAS_GARBAGE)
}

/// One of the pages that a page was split into.
fn split(page: &mut Page, target: &Target, part: u8) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let original_right_link = main.u32("right link")?;
    main.align(8);
    let original_nsn = main.u64("sequence number")?;
    let is_leaf = main.u8("leaf flag")? != 0;
    main.align(2);
    let parts = main.u16("page count")?;
    let mark_follow_right = main.u8("follow-right flag")? != 0;

    let is_root = target.reference.block == ROOT_BLOCK;
    page.init(SPECIAL_BYTES)?;
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + PAGE_ID_AT, PAGE_ID)?;
    page.set_u32(special + RIGHT_LINK_AT, NO_PAGE)?;
    if is_leaf && !is_root {
        change_flags(page, LEAF, 0)?;
    }
    let mut data = target.block_data();
    let count = data.u32("tuple count")?;
    if append_tuples(page, data.rest())? != count {
        return Err(RedoFailure::BadRecord("another number of tuples than announced"));
    }
    set_nsn(page, original_nsn)?;
    if is_root {
        return Ok(());
    }
    let is_last = u16::from(part) >= parts;
    let right_link = match is_last {
        true => original_right_link,
        false => target.block_number(part.saturating_add(1))?,
    };
    page.set_u32(special + RIGHT_LINK_AT, right_link)?;
    let root_was_split = target.block_number(1)? == ROOT_BLOCK;
    if !is_last && !root_was_split && mark_follow_right {
        change_flags(page, FOLLOW_RIGHT, 0)?;
    }
    Ok(())
}

fn mark_deleted(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let delete_xid = target.main_data().u64("deleting transaction")?;
    change_flags(page, DELETED, 0)?;
    page.set_lower(HEADER_BYTES + 8)?;
    page.set_u64(HEADER_BYTES, delete_xid)
}
