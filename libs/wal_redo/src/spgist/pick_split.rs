//! PICKSPLIT: a chain of leaves becomes an inner tuple with several chains, on up to four pages.

use super::tuple::{self, DeadState, KillAs, Link};
use super::{NULLS, Writer, init, leaf_flags};
use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::Target;

/// The record's main data.
struct PickSplit<'a> {
    init_source: bool,
    init_destination: bool,
    inner_offset: u16,
    init_inner: bool,
    stores_nulls: bool,
    inner_is_parent: bool,
    parent: u16,
    node: u16,
    writer: Writer,
    deleted: Vec<u16>,
    /// For each new leaf: its number, whether it goes to the destination, and the tuple.
    leaves: Vec<(u16, bool, &'a [u8])>,
    inner: &'a [u8],
}

impl<'a> PickSplit<'a> {
    fn read(target: &Target<'_, 'a>) -> Result<Self, RedoFailure> {
        let mut main = target.main_data();
        main.skip(1, "root flag")?;
        main.align(2);
        let deletes = main.u16("deleted item count")?;
        let inserts = main.u16("new item count")?;
        let init_source = main.u8("source init flag")? != 0;
        let init_destination = main.u8("destination init flag")? != 0;
        let inner_offset = main.u16("inner number")?;
        let init_inner = main.u8("inner init flag")? != 0;
        let stores_nulls = main.u8("nulls flag")? != 0;
        let inner_is_parent = main.u8("parent flag")? != 0;
        main.align(2);
        let parent = main.u16("parent number")?;
        let node = main.u16("node number")?;
        let writer = Writer::read(&mut main)?;
        let deleted = main.u16_list(usize::from(deletes), "deleted items")?;
        let offsets = main.u16_list(usize::from(inserts), "new items")?;
        let pages = main.take(usize::from(inserts), "page choices")?;
        let inner = tuple::take_inner(&mut main)?;
        let mut leaves = Vec::with_capacity(offsets.len());
        for (offset, page) in offsets.into_iter().zip(pages) {
            leaves.push((offset, *page != 0, tuple::take_leaf(&mut main)?));
        }
        Ok(PickSplit {
            init_source,
            init_destination,
            inner_offset,
            init_inner,
            stores_nulls,
            inner_is_parent,
            parent,
            node,
            writer,
            deleted,
            leaves,
            inner,
        })
    }

    fn add_leaves(&self, page: &mut Page, to_destination: bool) -> Result<(), RedoFailure> {
        for (offset, chosen, leaf) in &self.leaves {
            if *chosen == to_destination {
                tuple::add_or_replace(page, *offset, leaf)?;
            }
        }
        Ok(())
    }
}

pub(super) fn pick_split(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let split = PickSplit::read(target)?;
    let link = Link::new(target.block_number(2)?, split.inner_offset);
    match target.reference.id {
        0 => {
            if split.init_source {
                init(page, leaf_flags(split.stores_nulls))?;
            } else {
                let first = split.writer.moved_to(link);
                tuple::kill(page, &split.deleted, KillAs { first, rest: DeadState::Placeholder })?;
            }
            split.add_leaves(page, false)
        }
        1 => {
            if split.init_destination {
                init(page, leaf_flags(split.stores_nulls))?;
            }
            split.add_leaves(page, true)
        }
        2 => {
            if split.init_inner {
                init(page, if split.stores_nulls { NULLS } else { 0 })?;
            }
            tuple::add_or_replace(page, split.inner_offset, split.inner)?;
            match split.inner_is_parent {
                true => tuple::set_link(page, split.parent, split.node, link),
                false => Ok(()),
            }
        }
        _ => tuple::set_link(page, split.parent, split.node, link),
    }
}
