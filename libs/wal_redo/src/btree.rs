//! Resource manager BTREE: every page of a B-tree index.
//!
//! Facts: PostgreSQL's `nbtree.h`, `nbtxlog.h` and `nbtxlog.c`. This file has the dispatch and
//! the page-level pieces that the record types share; each family of records has a file.

use crate::error::RedoFailure;
use crate::page::{Page, max_align};
use crate::target::{Stamp, Target};

mod dedup;
mod delete;
mod insert;
mod split;
mod tuple;
mod unlink;

const INSERT_LEAF: u8 = 0x00;
const INSERT_UPPER: u8 = 0x10;
const INSERT_META: u8 = 0x20;
const SPLIT_L: u8 = 0x30;
const SPLIT_R: u8 = 0x40;
const INSERT_POST: u8 = 0x50;
const DEDUP: u8 = 0x60;
const DELETE: u8 = 0x70;
const UNLINK_PAGE: u8 = 0x80;
const UNLINK_PAGE_META: u8 = 0x90;
const NEWROOT: u8 = 0xA0;
const MARK_PAGE_HALFDEAD: u8 = 0xB0;
const VACUUM: u8 = 0xC0;
const REUSE_PAGE: u8 = 0xD0;
const META_CLEANUP: u8 = 0xE0;

/// Length of the special area.
pub(crate) const SPECIAL_BYTES: usize = 16;
pub(crate) const PREV_AT: usize = 0;
pub(crate) const NEXT_AT: usize = 4;
pub(crate) const LEVEL_AT: usize = 8;
pub(crate) const FLAGS_AT: usize = 12;
pub(crate) const CYCLE_ID_AT: usize = 14;

pub(crate) const LEAF: u16 = 0x01;
const ROOT: u16 = 0x02;
const DELETED: u16 = 0x04;
const META: u16 = 0x08;
const HALF_DEAD: u16 = 0x10;
pub(crate) const SPLIT_END: u16 = 0x20;
pub(crate) const HAS_GARBAGE: u16 = 0x40;
const INCOMPLETE_SPLIT: u16 = 0x80;
const HAS_FULL_XID: u16 = 0x100;

/// "No such page": block 0 is the meta page, which has no siblings.
const NO_PAGE: u32 = 0;
const META_MAGIC: u32 = 0x0005_3162;

/// Applies a BTREE record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let id = target.reference.id;
    match (target.record.rmgr_info(), id) {
        (INSERT_LEAF | INSERT_UPPER | INSERT_META, 0) => insert::insert(page, target)?,
        (INSERT_POST, 0) => insert::insert_into_posting(page, target)?,
        (INSERT_UPPER | INSERT_META, 1) => clear_incomplete_split(page)?,
        (INSERT_META, 2) => restore_meta(page, target)?,
        (SPLIT_L, 0) => split::left(page, target, split::NewItem::OnLeft)?,
        (SPLIT_R, 0) => split::left(page, target, split::NewItem::OnRight)?,
        (SPLIT_L | SPLIT_R, 1) => split::right(page, target)?,
        (SPLIT_L | SPLIT_R, 2) => set_special_u32(page, PREV_AT, target.block_number(1)?)?,
        (SPLIT_L | SPLIT_R, 3) => clear_incomplete_split(page)?,
        (DEDUP, 0) => dedup::dedup(page, target)?,
        (DELETE, 0) => delete::delete(page, target)?,
        (VACUUM, 0) => delete::vacuum(page, target)?,
        (UNLINK_PAGE | UNLINK_PAGE_META, 0..=3) => unlink::unlink(page, target)?,
        (UNLINK_PAGE_META, 4) => restore_meta(page, target)?,
        (NEWROOT, 0) => new_root(page, target)?,
        (NEWROOT, 1) => clear_incomplete_split(page)?,
        (NEWROOT, 2) | (META_CLEANUP, 0) => restore_meta(page, target)?,
        (MARK_PAGE_HALFDEAD, 0 | 1) => unlink::mark_half_dead(page, target)?,
        (INSERT_LEAF..=META_CLEANUP, _) => return target.unexpected(),
        (REUSE_PAGE.., _) => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

fn special_u32(page: &Page, at: usize) -> Result<u32, RedoFailure> {
    page.u32(page.special(SPECIAL_BYTES)? + at)
}

fn set_special_u32(page: &mut Page, at: usize, value: u32) -> Result<(), RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u32(special + at, value)
}

fn change_flags(page: &mut Page, set: u16, clear: u16) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + FLAGS_AT;
    let flags = page.u16(at)?;
    page.set_u16(at, flags & !clear | set)
}

fn set_cycle_id(page: &mut Page, cycle_id: u16) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + CYCLE_ID_AT;
    page.set_u16(at, cycle_id)
}

/// Number of the first item that is not the high key.
fn first_data_key(page: &Page) -> Result<u16, RedoFailure> {
    Ok(if special_u32(page, NEXT_AT)? == NO_PAGE { 1 } else { 2 })
}

/// What the special area of a rebuilt page says.
struct PageKind {
    prev: u32,
    next: u32,
    level: u32,
    flags: u16,
}

fn init(page: &mut Page, kind: &PageKind) -> Result<(), RedoFailure> {
    page.init(SPECIAL_BYTES)?;
    set_special_u32(page, PREV_AT, kind.prev)?;
    set_special_u32(page, NEXT_AT, kind.next)?;
    set_special_u32(page, LEVEL_AT, kind.level)?;
    change_flags(page, kind.flags, 0)
}

/// Leaf if the level is 0.
fn leaf_flag(level: u32) -> u16 {
    if level == 0 { LEAF } else { 0 }
}

/// Fills an empty page with logged items, the last of which is item 1.
fn restore_items(page: &mut Page, data: &[u8]) -> Result<(), RedoFailure> {
    let mut items = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let size = max_align(tuple::size(rest)?);
        let (item, after) = rest
            .split_at_checked(size)
            .filter(|_| size > 0)
            .ok_or(RedoFailure::Truncated { what: "page items", needed: 1 })?;
        items.push(item);
        rest = after;
    }
    for (index, item) in items.iter().rev().enumerate() {
        page.insert_item(index as u16 + 1, item)?;
    }
    Ok(())
}

/// Rebuilds the meta page.
fn restore_meta(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    const NO_TUPLE_COUNT: f64 = -1.0;
    let mut data = target.block_data();
    let version_to_fast_level = data.take(20, "meta page")?;
    let deleted_pages = data.u32("count of deleted pages")?;
    let all_equal_image = data.u8("equal-image flag")?;
    init(page, &PageKind { prev: NO_PAGE, next: NO_PAGE, level: 0, flags: META })?;
    page.set_u32(24, META_MAGIC)?;
    page.put(28, version_to_fast_level)?;
    page.set_u32(48, deleted_pages)?;
    page.put(56, &NO_TUPLE_COUNT.to_le_bytes())?;
    page.set_u8(64, all_equal_image)?;
    page.set_lower(72)
}

/// The downlink of a split page has arrived.
fn clear_incomplete_split(page: &mut Page) -> Result<(), RedoFailure> {
    change_flags(page, 0, INCOMPLETE_SPLIT)
}

/// NEWROOT: the root page.
fn new_root(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "root block")?;
    let level = main.u32("root level")?;
    let flags = ROOT | leaf_flag(level);
    init(page, &PageKind { prev: NO_PAGE, next: NO_PAGE, level, flags })?;
    if level > 0 {
        restore_items(page, target.block_data().rest())?;
    }
    Ok(())
}
