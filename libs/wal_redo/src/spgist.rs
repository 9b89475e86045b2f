//! Resource manager SPGIST: space-partitioned search trees.
//!
//! Facts: PostgreSQL's `spgxlog.c`, `spgist_private.h` and `spgxlog.h`. Records are self-contained
//! in their main data; which part concerns a page follows from the reference's number.

use postgres_ffi::PgMajor;

use crate::error::RedoFailure;
use crate::page::Page;
use crate::reader::Reader;
use crate::target::{Stamp, Target};

mod pick_split;
mod tuple;
mod vacuum;

use tuple::{DeadState, KillAs, Link};

const ADD_LEAF: u8 = 0x10;
const MOVE_LEAFS: u8 = 0x20;
const ADD_NODE: u8 = 0x30;
const SPLIT_TUPLE: u8 = 0x40;
const PICKSPLIT: u8 = 0x50;
const VACUUM_LEAF: u8 = 0x60;
const VACUUM_ROOT: u8 = 0x70;
const VACUUM_REDIRECT: u8 = 0x80;

const SPECIAL_BYTES: usize = 8;
const FLAGS_AT: usize = 0;
const REDIRECTIONS_AT: usize = 2;
const PLACEHOLDERS_AT: usize = 4;
const PAGE_ID_AT: usize = 6;
const PAGE_ID: u16 = 0xFF82;

const LEAF: u16 = 0x04;
const NULLS: u16 = 0x08;

/// Applies an SPGIST record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    match (target.record.rmgr_info(), target.reference.id) {
        (ADD_LEAF, 0 | 1) => add_leaf(page, target)?,
        (MOVE_LEAFS, 0..=2) => move_leafs(page, target)?,
        (ADD_NODE, 0..=2) => add_node(page, target)?,
        (SPLIT_TUPLE, 0 | 1) => split_tuple(page, target)?,
        (PICKSPLIT, 0..=3) => pick_split::pick_split(page, target)?,
        (VACUUM_LEAF, 0) => vacuum::leaf(page, target)?,
        (VACUUM_ROOT, 0) => vacuum::root(page, target)?,
        (VACUUM_REDIRECT, 0) => vacuum::redirect(page, target)?,
        (ADD_LEAF..=VACUUM_REDIRECT, _) => return target.unexpected(),
        _ => return Err(RedoFailure::Unsupported),
    }
    Ok(Stamp::EndLsn)
}

fn init(page: &mut Page, flags: u16) -> Result<(), RedoFailure> {
    page.init(SPECIAL_BYTES)?;
    let special = page.special(SPECIAL_BYTES)?;
    page.set_u16(special + FLAGS_AT, flags)?;
    page.set_u16(special + PAGE_ID_AT, PAGE_ID)
}

fn leaf_flags(stores_nulls: bool) -> u16 {
    if stores_nulls { LEAF | NULLS } else { LEAF }
}

/// Adds to one of the page's counts of dead tuples.
fn change_count(page: &mut Page, at: usize, difference: i32) -> Result<(), RedoFailure> {
    let at = page.special(SPECIAL_BYTES)? + at;
    let count = i32::from(page.u16(at)?) + difference;
    let count = u16::try_from(count)
        .map_err(|_| RedoFailure::BadPage("the page's count of dead tuples is wrong"))?;
    page.set_u16(at, count)
}

/// Who wrote the record, and whether nobody could follow links yet.
#[derive(Clone, Copy)]
struct Writer {
    xid: u32,
    is_build: bool,
}

impl Writer {
    fn read(main: &mut Reader) -> Result<Self, RedoFailure> {
        main.align(4);
        let xid = main.u32("transaction")?;
        let is_build = main.u8("build flag")? != 0;
        main.align(4);
        Ok(Writer { xid, is_build })
    }

    /// What becomes of the first of several tuples that moved to `link`.
    fn moved_to(self, link: Link) -> DeadState {
        if self.is_build {
            DeadState::Placeholder
        } else {
            DeadState::Redirect { link, xid: self.xid }
        }
    }
}

fn add_leaf(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let new_page = main.u8("new page flag")? != 0;
    let stores_nulls = main.u8("nulls flag")? != 0;
    let offset = main.u16("leaf number")?;
    let head = main.u16("chain head number")?;
    let parent = main.u16("parent number")?;
    let node = main.u16("node number")?;
    let leaf = tuple::take_leaf(&mut main)?;
    if target.reference.id == 1 {
        return tuple::set_link(page, parent, node, Link::new(target.block_number(0)?, offset));
    }
    if new_page {
        init(page, leaf_flags(stores_nulls))?;
    }
    if offset == head {
        page.delete_index_item(offset)?;
        return page.insert_item(offset, leaf);
    }
    tuple::add_or_replace(page, offset, leaf)?;
    if head != 0 { tuple::set_next_offset(page, head, offset) } else { Ok(()) }
}

fn move_leafs(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let moves = main.u16("move count")?;
    let new_page = main.u8("new page flag")? != 0;
    let replaces_dead = main.u8("replace flag")? != 0;
    let stores_nulls = main.u8("nulls flag")? != 0;
    main.align(2);
    let parent = main.u16("parent number")?;
    let node = main.u16("node number")?;
    let writer = Writer::read(&mut main)?;
    let inserted = if replaces_dead { 1 } else { usize::from(moves) + 1 };
    let deleted = main.u16_list(usize::from(moves), "moved items")?;
    let offsets = main.u16_list(inserted, "new items")?;
    let last = offsets.last().copied().unwrap_or_default();
    let link = Link::new(target.block_number(1)?, last);
    match target.reference.id {
        0 => {
            let first = writer.moved_to(link);
            tuple::kill(page, &deleted, KillAs { first, rest: DeadState::Placeholder })
        }
        1 => {
            if new_page {
                init(page, leaf_flags(stores_nulls))?;
            }
            for offset in offsets {
                tuple::add_or_replace(page, offset, tuple::take_leaf(&mut main)?)?;
            }
            Ok(())
        }
        _ => tuple::set_link(page, parent, node, link),
    }
}

fn add_node(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let offset = main.u16("inner number")?;
    let new_offset = main.u16("new inner number")?;
    let new_page = main.u8("new page flag")? != 0;
    let parent_block = main.u8("parent's reference")?;
    let parent = main.u16("parent number")?;
    let node = main.u16("node number")?;
    let writer = Writer::read(&mut main)?;
    let inner = tuple::take_inner(&mut main)?;
    let id = target.reference.id;
    if target.record.block_by_id(1).is_none() {
        page.delete_index_item(offset)?;
        return page.insert_item(offset, inner);
    }
    let link = Link::new(target.block_number(1)?, new_offset);
    match id {
        0 => tuple::kill_one(page, offset, writer.moved_to(link))?,
        1 => {
            if new_page {
                init(page, 0)?;
            }
            tuple::add_or_replace(page, new_offset, inner)?;
        }
        _ => {}
    }
    if id == parent_block { tuple::set_link(page, parent, node, link) } else { Ok(()) }
}

fn split_tuple(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let prefix_offset = main.u16("prefix number")?;
    let postfix_offset = main.u16("postfix number")?;
    let new_page = main.u8("new page flag")? != 0;
    let same_page = main.u8("same page flag")? != 0;
    let prefix = tuple::take_inner(&mut main)?;
    let postfix = tuple::take_inner(&mut main)?;
    if target.reference.id == 1 {
        if new_page {
            init(page, 0)?;
        }
        return tuple::add_or_replace(page, postfix_offset, postfix);
    }
    page.delete_index_item(prefix_offset)?;
    page.insert_item(prefix_offset, prefix)?;
    if same_page { tuple::add_or_replace(page, postfix_offset, postfix) } else { Ok(()) }
}

/// Whether records of VACUUM say if their relation is a catalog.
fn has_catalog_flag(major: PgMajor) -> bool {
    major >= PgMajor::V16
}
