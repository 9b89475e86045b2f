//! Resource manager BRIN: block range indexes.
//!
//! Facts: PostgreSQL's `brin_xlog.c` and `brin_page.h`. An index has a meta page, reverse map
//! pages (arrays of item pointers) and regular pages with summary tuples.

use crate::error::RedoFailure;
use crate::item_pointer::{ITEM_POINTER_BYTES, ItemPointer};
use crate::page::{HEADER_BYTES, Page};
use crate::target::{Stamp, Target};

const OPERATION_MASK: u8 = 0x70;
const INIT_PAGE: u8 = 0x80;
const CREATE_INDEX: u8 = 0x00;
const INSERT: u8 = 0x10;
const UPDATE: u8 = 0x20;
const SAMEPAGE_UPDATE: u8 = 0x30;
const REVMAP_EXTEND: u8 = 0x40;
const DESUMMARIZE: u8 = 0x50;

pub(crate) const SPECIAL_BYTES: usize = 8;
pub(crate) const FLAGS_AT: usize = 4;
pub(crate) const PAGE_TYPE_AT: usize = 6;
/// Flag: the page is being emptied (not logged).
pub(crate) const EVACUATE: u16 = 0x0001;
pub(crate) const META: u16 = 0xF091;
const REVMAP: u16 = 0xF092;
pub(crate) const REGULAR: u16 = 0xF093;

const META_MAGIC: u32 = 0xA810_9CFA;
const META_LOWER: usize = 40;
const LAST_REVMAP_PAGE_AT: usize = 36;
const REVMAP_ENTRIES: u32 = 1360;
const INVALID_POINTER: ItemPointer = ItemPointer { block: u32::MAX, offset: 0 };

/// Applies a BRIN record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    match (target.record.info & OPERATION_MASK, target.reference.id) {
        (CREATE_INDEX, 0) => create_index(page, target)?,
        (INSERT | UPDATE, 0) => add_summary(page, target)?,
        (INSERT | UPDATE, 1) => point_to_summary(page, target)?,
        (UPDATE, 2) => {
            let old_offset = target.main_data().u16("old item number")?;
            page.delete_item_keep_number(old_offset)?;
        }
        (SAMEPAGE_UPDATE, 0) => {
            let offset = target.main_data().u16("item number")?;
            page.overwrite_item(offset, target.block_data().rest())?;
        }
        (REVMAP_EXTEND, 0) => {
            page.set_u32(LAST_REVMAP_PAGE_AT, target.main_data().u32("revmap block")?)?;
            page.set_lower(META_LOWER)?;
        }
        (REVMAP_EXTEND, 1) => init(page, REVMAP)?,
        (DESUMMARIZE, 0 | 1) => desummarize(page, target)?,
        (CREATE_INDEX..=DESUMMARIZE, _) => return target.unexpected(),
        _ => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

fn init(page: &mut Page, page_type: u16) -> Result<(), RedoFailure> {
    page.init(SPECIAL_BYTES)?;
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + PAGE_TYPE_AT, page_type)
}

fn create_index(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let pages_per_range = main.u32("pages per range")?;
    let version = main.u16("index version")?;
    init(page, META)?;
    let members = [META_MAGIC, u32::from(version), pages_per_range, 0];
    for (index, value) in members.into_iter().enumerate() {
        page.set_u32(HEADER_BYTES + index * 4, value)?;
    }
    page.set_lower(META_LOWER)
}

/// What INSERT and UPDATE say about the new summary tuple.
struct Summary {
    heap_block: u32,
    pages_per_range: u32,
    offset: u16,
}

impl Summary {
    fn read(target: &Target) -> Result<Self, RedoFailure> {
        let mut main = target.main_data();
        if target.record.info & OPERATION_MASK == UPDATE {
            main.skip(4, "old item number")?;
        }
        Ok(Summary {
            heap_block: main.u32("heap block")?,
            pages_per_range: main.u32("pages per range")?,
            offset: main.u16("item number")?,
        })
    }
}

fn add_summary(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let summary = Summary::read(target)?;
    if target.record.info & INIT_PAGE != 0 {
        init(page, REGULAR)?;
    }
    page.put_item(summary.offset, target.block_data().rest())
}

fn point_to_summary(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let summary = Summary::read(target)?;
    let pointer = ItemPointer { block: target.block_number(0)?, offset: summary.offset };
    set_revmap_entry(page, summary.heap_block, summary.pages_per_range, pointer)
}

fn desummarize(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let pages_per_range = main.u32("pages per range")?;
    let heap_block = main.u32("heap block")?;
    let offset = main.u16("item number")?;
    if target.reference.id == 0 {
        set_revmap_entry(page, heap_block, pages_per_range, INVALID_POINTER)
    } else {
        page.delete_item_keep_number(offset)
    }
}

fn set_revmap_entry(
    page: &mut Page,
    heap_block: u32,
    pages_per_range: u32,
    pointer: ItemPointer,
) -> Result<(), RedoFailure> {
    let range = heap_block
        .checked_div(pages_per_range)
        .ok_or(RedoFailure::BadRecord("a block range has no pages"))?;
    let index = (range % REVMAP_ENTRIES) as usize;
    page.set_item_pointer(HEADER_BYTES + index * ITEM_POINTER_BYTES, pointer)
}
