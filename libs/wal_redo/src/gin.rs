//! Resource manager GIN: inverted indexes.
//!
//! Facts: PostgreSQL's `ginxlog.c`, `ginblock.h` and `ginpostinglist.c`. An index has a meta
//! page, a tree of entries, a posting tree for each frequent entry, and a list of pending
//! insertions.

use crate::error::RedoFailure;
use crate::index_tuple::{append_tuples, first_tuple};
use crate::item_pointer::ItemPointer;
use crate::page::{HEADER_BYTES, Page};
use crate::reader::Reader;
use crate::target::{Stamp, Target};

mod posting_list;
mod posting_tree;

const CREATE_PTREE: u8 = 0x10;
const INSERT: u8 = 0x20;
const SPLIT: u8 = 0x30;
const VACUUM_PAGE: u8 = 0x40;
const DELETE_PAGE: u8 = 0x50;
const UPDATE_META_PAGE: u8 = 0x60;
const INSERT_LISTPAGE: u8 = 0x70;
const DELETE_LISTPAGE: u8 = 0x80;
const VACUUM_DATA_LEAF_PAGE: u8 = 0x90;

pub(crate) const SPECIAL_BYTES: usize = 8;
const RIGHT_LINK_AT: usize = 0;
const MAX_OFFSET_AT: usize = 4;
pub(crate) const FLAGS_AT: usize = 6;

const DATA: u16 = 0x01;
const LEAF: u16 = 0x02;
pub(crate) const DELETED: u16 = 0x04;
const META: u16 = 0x08;
const LIST: u16 = 0x10;
const LIST_FULL_ROW: u16 = 0x20;
const INCOMPLETE_SPLIT: u16 = 0x40;
const COMPRESSED: u16 = 0x80;

const NO_PAGE: u32 = u32::MAX;
const META_BYTES: usize = 56;
/// In the flags of INSERT: the page belongs to a posting tree.
const INSERT_IS_DATA: u16 = 0x01;
/// In the flags of INSERT: the page is a leaf.
const INSERT_IS_LEAF: u16 = 0x02;

/// Applies a GIN record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let info = target.record.rmgr_info();
    match (info, target.reference.id) {
        (CREATE_PTREE, 0) => posting_tree::create(page, target)?,
        (INSERT, 0) => insert(page, target)?,
        (INSERT, 1) | (SPLIT, 3) => change_flags(page, 0, INCOMPLETE_SPLIT)?,
        // The pages themselves are always logged as images.
        (SPLIT, 0..=2) | (VACUUM_PAGE, 0) => {
            return Err(RedoFailure::BadRecord("the page image is missing"));
        }
        (DELETE_PAGE, 0..=2) => delete_page(page, target)?,
        (UPDATE_META_PAGE, 0) => replace_meta(page, target, 16)?,
        (UPDATE_META_PAGE, 1) => extend_pending_list(page, target)?,
        (INSERT_LISTPAGE, 0) => insert_list_page(page, target)?,
        (DELETE_LISTPAGE, 0) => replace_meta(page, target, 0)?,
        (DELETE_LISTPAGE, _) => init(page, DELETED)?,
        (VACUUM_DATA_LEAF_PAGE, 0) => {
            posting_tree::recompress(page, &mut target.block_data())?;
        }
        (CREATE_PTREE..=VACUUM_DATA_LEAF_PAGE, _) => return target.unexpected(),
        _ => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

fn init(page: &mut Page, flags: u16) -> Result<(), RedoFailure> {
    page.init(SPECIAL_BYTES)?;
    set_right_link(page, NO_PAGE)?;
    change_flags(page, flags, 0)
}

fn set_right_link(page: &mut Page, block: u32) -> Result<(), RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u32(special + RIGHT_LINK_AT, block)
}

fn max_offset(page: &Page) -> Result<u16, RedoFailure> {
    page.u16(page.special(SPECIAL_BYTES)? + MAX_OFFSET_AT)
}

fn set_max_offset(page: &mut Page, offset: u16) -> Result<(), RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + MAX_OFFSET_AT, offset)
}

fn flags(page: &Page) -> Result<u16, RedoFailure> {
    page.u16(page.special(SPECIAL_BYTES)? + FLAGS_AT)
}

fn change_flags(page: &mut Page, set: u16, clear: u16) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + FLAGS_AT;
    let flags = page.u16(at)?;
    page.set_u16(at, flags & !clear | set)
}

/// INSERT: the page that gets the new item.
fn insert(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let flags = main.u16("insert flags")?;
    let is_leaf = flags & INSERT_IS_LEAF != 0;
    let mut right_child = None;
    if !is_leaf {
        main.skip(4, "left child")?;
        // A block number is stored high half first.
        let (high, low) = (main.u16("right child")?, main.u16("right child")?);
        right_child = Some(u32::from(high) << 16 | u32::from(low));
    }
    let mut data = target.block_data();
    match (flags & INSERT_IS_DATA != 0, right_child) {
        (true, None) => posting_tree::recompress(page, &mut data),
        (true, Some(child)) => posting_tree::insert_internal(page, child, &mut data),
        (false, right_child) => insert_entry(page, right_child, &mut data),
    }
}

fn insert_entry(
    page: &mut Page,
    right_child: Option<u32>,
    data: &mut Reader,
) -> Result<(), RedoFailure> {
    let offset = data.u16("item number")?;
    let is_delete = data.u8("delete flag")? != 0;
    data.align(2);
    let tuple = data.rest();
    if let Some(block) = right_child.filter(|block| *block != NO_PAGE) {
        let (at, _) = page.stored_item(offset)?;
        page.set_item_pointer(at, ItemPointer { block, offset: 0 })?;
    }
    if is_delete {
        page.delete_index_item(offset)?;
    }
    page.insert_item(offset, first_tuple(tuple)?)
}

fn delete_page(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let parent_offset = main.u16("downlink number")?;
    main.align(4);
    let right_link = main.u32("right link")?;
    let delete_xid = main.u32("deleting transaction")?;
    match target.reference.id {
        0 => {
            change_flags(page, DELETED, 0)?;
            page.set_prune_xid(delete_xid)
        }
        1 => posting_tree::delete_internal(page, parent_offset),
        _ => set_right_link(page, right_link),
    }
}

/// The meta page, whose content is in the main data from `at` on.
fn replace_meta(page: &mut Page, target: &Target, at: usize) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(at, "index identity")?;
    let content = main.take(META_BYTES, "meta page")?;
    init(page, META)?;
    page.put(HEADER_BYTES, content)?;
    page.set_lower(HEADER_BYTES + META_BYTES)
}

/// UPDATE_META_PAGE: the last page of the pending list gets tuples or a successor.
fn extend_pending_list(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(16 + META_BYTES, "meta page")?;
    let _previous_tail = main.u32("previous tail")?;
    let right_link = main.u32("new right link")?;
    let count = main.u32("tuple count")?;
    if count == 0 {
        return set_right_link(page, right_link);
    }
    add_tuples(page, target, count)?;
    let rows = max_offset(page)?;
    set_max_offset(page, rows.wrapping_add(1))
}

fn add_tuples(page: &mut Page, target: &Target, count: u32) -> Result<(), RedoFailure> {
    if append_tuples(page, target.block_data().rest())? == count {
        Ok(())
    } else {
        Err(RedoFailure::BadRecord("another number of tuples than announced"))
    }
}

fn insert_list_page(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let right_link = main.u32("right link")?;
    let count = main.u32("tuple count")?;
    init(page, LIST)?;
    set_right_link(page, right_link)?;
    if right_link == NO_PAGE {
        change_flags(page, LIST_FULL_ROW, 0)?;
        set_max_offset(page, 1)?;
    }
    add_tuples(page, target, count)
}
