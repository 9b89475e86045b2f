//! Resource manager HASH: hash indexes.
//!
//! Facts: PostgreSQL's `hash_xlog.c`, `hash.h` and `hash_xlog.h`. This file has the dispatch and
//! the pages of buckets; the meta page and bitmaps are in [`meta`].

use postgres_ffi::PgMajor;

use crate::error::RedoFailure;
use crate::page::{Page, max_align};
use crate::reader::Reader;
use crate::target::{Stamp, Target};

mod meta;

const INIT_META_PAGE: u8 = 0x00;
const INIT_BITMAP_PAGE: u8 = 0x10;
const INSERT: u8 = 0x20;
const ADD_OVFL_PAGE: u8 = 0x30;
const SPLIT_ALLOCATE_PAGE: u8 = 0x40;
const SPLIT_PAGE: u8 = 0x50;
const SPLIT_COMPLETE: u8 = 0x60;
const MOVE_PAGE_CONTENTS: u8 = 0x70;
const SQUEEZE_PAGE: u8 = 0x80;
const DELETE: u8 = 0x90;
const SPLIT_CLEANUP: u8 = 0xA0;
const UPDATE_META_PAGE: u8 = 0xB0;
const VACUUM_ONE_PAGE: u8 = 0xC0;

pub(crate) const SPECIAL_BYTES: usize = 16;
const PREV_AT: usize = 0;
const NEXT_AT: usize = 4;
const BUCKET_AT: usize = 8;
pub(crate) const FLAGS_AT: usize = 12;
const PAGE_ID_AT: usize = 14;
const PAGE_ID: u16 = 0xFF80;

pub(crate) const OVERFLOW: u16 = 0x01;
pub(crate) const BUCKET: u16 = 0x02;
const BITMAP: u16 = 0x04;
const META: u16 = 0x08;
/// The bits that say what a page is; none if it is unused.
pub(crate) const PAGE_TYPE: u16 = 0x0F;
const NEEDS_SPLIT_CLEANUP: u16 = 0x40;
pub(crate) const HAS_DEAD_TUPLES: u16 = 0x80;
const NONE: u32 = u32::MAX;

/// Applies a HASH record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    match (target.record.rmgr_info(), target.reference.id) {
        (INIT_META_PAGE, 0) => meta::init(page, target)?,
        (INIT_BITMAP_PAGE, 0) => {
            meta::init_bitmap(page, target.main_data().u16("bitmap size")?)?;
        }
        (INIT_BITMAP_PAGE, 1) => meta::register_first_bitmap(page)?,
        (INSERT, 0) => {
            let offset = target.main_data().u16("item number")?;
            page.insert_item(offset, target.block_data().rest())?;
        }
        (INSERT, 1) => meta::add_tuples(page, 1.0)?,
        (ADD_OVFL_PAGE, id) => add_overflow(page, target, id)?,
        (SPLIT_ALLOCATE_PAGE, 0) => return split_old_bucket(page, target).map(|()| Stamp::EndLsn),
        (SPLIT_ALLOCATE_PAGE, 1) => split_new_bucket(page, target)?,
        (SPLIT_ALLOCATE_PAGE, 2) => meta::split(page, target)?,
        (SPLIT_PAGE, 0) => return Err(RedoFailure::BadRecord("the page image is missing")),
        (SPLIT_COMPLETE, id @ (0 | 1)) => complete_split(page, target, id)?,
        // The bucket's first page is only locked.
        (MOVE_PAGE_CONTENTS | SQUEEZE_PAGE | DELETE, 0) => return Ok(Stamp::Keep),
        (MOVE_PAGE_CONTENTS, 1) => {
            let count = target.main_data().u16("tuple count")?;
            add_items(page, &mut target.block_data(), count)?;
        }
        (MOVE_PAGE_CONTENTS, 2) => delete_listed(page, &mut target.block_data())?,
        (SQUEEZE_PAGE, id) => return squeeze(page, target, id),
        (DELETE, 1) => delete(page, target)?,
        (SPLIT_CLEANUP, 0) => change_flags(page, 0, NEEDS_SPLIT_CLEANUP)?,
        (UPDATE_META_PAGE, 0) => meta::set_tuples(page, target)?,
        (VACUUM_ONE_PAGE, id @ (0 | 1)) => vacuum(page, target, id)?,
        (INIT_META_PAGE..=VACUUM_ONE_PAGE, _) => return target.unexpected(),
        _ => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

/// What happens to a page even if it was restored: the flags of a split are not in its image.
pub(crate) fn after_restore(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    match (target.record.rmgr_info(), target.reference.id) {
        (SPLIT_ALLOCATE_PAGE, 0) => split_old_bucket(page, target),
        (SPLIT_COMPLETE, id @ (0 | 1)) => complete_split(page, target, id),
        _ => Ok(()),
    }
}

fn set_special_u32(page: &mut Page, at: usize, value: u32) -> Result<(), RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u32(special + at, value)
}

fn set_flags(page: &mut Page, flags: u16) -> Result<(), RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + FLAGS_AT, flags)
}

fn change_flags(page: &mut Page, set: u16, clear: u16) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + FLAGS_AT;
    let flags = page.u16(at)?;
    page.set_u16(at, flags & !clear | set)
}

fn init(page: &mut Page, prev: u32, bucket: u32, flags: u16) -> Result<(), RedoFailure> {
    page.init(SPECIAL_BYTES)?;
    set_special_u32(page, PREV_AT, prev)?;
    set_special_u32(page, NEXT_AT, NONE)?;
    set_special_u32(page, BUCKET_AT, bucket)?;
    set_flags(page, flags)?;
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + PAGE_ID_AT, PAGE_ID)
}

fn add_overflow(page: &mut Page, target: &Target, id: u8) -> Result<(), RedoFailure> {
    match id {
        0 => {
            let bucket = target.block_data().u32("bucket")?;
            init(page, target.block_number(1)?, bucket, OVERFLOW)
        }
        1 => set_special_u32(page, NEXT_AT, target.block_number(0)?),
        2 => meta::set_bit(page, target.block_data().u32("bit number")?),
        3 => meta::init_bitmap(page, target.main_data().u16("bitmap size")?),
        4 => meta::add_overflow(page, target),
        _ => target.unexpected(),
    }
}

fn split_old_bucket(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let new_bucket = main.u32("new bucket")?;
    set_flags(page, main.u16("old bucket's flags")?)?;
    set_special_u32(page, PREV_AT, new_bucket)
}

fn split_new_bucket(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let new_bucket = main.u32("new bucket")?;
    main.skip(2, "old bucket's flags")?;
    init(page, new_bucket, new_bucket, main.u16("new bucket's flags")?)
}

fn complete_split(page: &mut Page, target: &Target, id: u8) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let old = main.u16("old bucket's flags")?;
    let new = main.u16("new bucket's flags")?;
    set_flags(page, if id == 0 { old } else { new })
}

/// Adds tuples at the numbers that come before them.
fn add_items(page: &mut Page, data: &mut Reader, count: u16) -> Result<(), RedoFailure> {
    let offsets = data.u16_list(usize::from(count), "item numbers")?;
    for offset in offsets {
        let size = crate::index_tuple::first_tuple(data.clone().rest())?.len();
        let item = data.take(max_align(size), "index tuple")?;
        page.insert_item(offset, item)?;
    }
    data.finish()
}

fn delete_listed(page: &mut Page, data: &mut Reader) -> Result<(), RedoFailure> {
    let offsets = data.u16_list(data.remaining() / 2, "deleted items")?;
    page.delete_index_items(&offsets)
}

fn delete(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let clears_dead_mark = target.main_data().u8("dead tuples flag")? != 0;
    delete_listed(page, &mut target.block_data())?;
    if clears_dead_mark {
        change_flags(page, 0, HAS_DEAD_TUPLES)?;
    }
    Ok(())
}

/// An overflow page is emptied into another and freed.
fn squeeze(page: &mut Page, target: &Target, id: u8) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    let prev = main.u32("previous block")?;
    let next = main.u32("next block")?;
    let count = main.u16("tuple count")?;
    main.skip(1, "write page is primary")?;
    let writes_to_previous = main.u8("write page is previous")? != 0;
    match id {
        1 => {
            add_items(page, &mut target.block_data(), count)?;
            if writes_to_previous {
                set_special_u32(page, NEXT_AT, next)?;
            }
            if target.major >= PgMajor::V17 && count == 0 && !writes_to_previous {
                return Ok(Stamp::Keep);
            }
        }
        2 => init(page, NONE, NONE, 0)?,
        3 if !writes_to_previous => set_special_u32(page, NEXT_AT, next)?,
        3 => return Ok(Stamp::Keep),
        4 => set_special_u32(page, PREV_AT, prev)?,
        5 => meta::clear_bit(page, target.block_data().u32("bit number")?)?,
        6 => meta::set_first_free(page, target.block_data().u32("first free bit")?)?,
        _ => return target.unexpected(),
    }
    Ok(Stamp::EndLsn)
}

/// Removal of tuples known to be dead, outside VACUUM.
fn vacuum(page: &mut Page, target: &Target, id: u8) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    // From 16 on the count is shorter and followed by a flag, in the same space.
    let count = main.u16("tuple count")?;
    main.skip(2, "catalog flag")?;
    if id == 1 {
        return meta::add_tuples(page, -f64::from(count));
    }
    page.delete_index_items(&main.u16_list(usize::from(count), "deleted items")?)?;
    change_flags(page, 0, HAS_DEAD_TUPLES)
}
