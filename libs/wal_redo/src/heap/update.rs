//! UPDATE and HOT_UPDATE: one record that changes an old tuple and adds a new one, on one page
//! or on two.

use super::init_if_asked;
use super::tuple::{self, HEADER_BYTES, HOT_UPDATED, HeapTuple, LoggedHeader, set_prunable};
use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::{ALL_VISIBLE, Page};
use crate::target::{Stamp, Target};

const OLD_ALL_VISIBLE_CLEARED: u8 = 0x01;
const NEW_ALL_VISIBLE_CLEARED: u8 = 0x02;
const PREFIX_FROM_OLD: u8 = 0x20;
const SUFFIX_FROM_OLD: u8 = 0x40;

/// Whether index entries keep pointing at the old tuple.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    Hot,
}

/// The record's main data.
struct Update {
    old_xmax: u32,
    old_offset: u16,
    old_infobits: u8,
    flags: u8,
    new_xmax: u32,
    new_offset: u16,
}

impl Update {
    fn read(target: &Target) -> Result<Self, RedoFailure> {
        let mut main = target.main_data();
        Ok(Update {
            old_xmax: main.u32("old xmax")?,
            old_offset: main.u16("old tuple number")?,
            old_infobits: main.u8("old infomask bits")?,
            flags: main.u8("update flags")?,
            new_xmax: main.u32("new xmax")?,
            new_offset: main.u16("new tuple number")?,
        })
    }
}

pub(super) fn update(page: &mut Page, target: &Target, kind: Kind) -> Result<Stamp, RedoFailure> {
    let update = Update::read(target)?;
    let new_tuple = ItemPointer { block: target.block_number(0)?, offset: update.new_offset };
    let two_pages = target.record.block_by_id(1).is_some();
    match (target.reference.id, two_pages) {
        (1, _) => mark_old(page, target, &update, kind, new_tuple)?,
        (_, true) => {
            init_if_asked(page, target)?;
            add_new(page, target, &update, new_tuple)?;
        }
        (_, false) => {
            mark_old(page, target, &update, kind, new_tuple)?;
            add_new(page, target, &update, new_tuple)?;
        }
    }
    Ok(Stamp::EndLsn)
}

fn mark_old(
    page: &mut Page,
    target: &Target,
    update: &Update,
    kind: Kind,
    new_tuple: ItemPointer,
) -> Result<(), RedoFailure> {
    let tuple = HeapTuple::find(page, update.old_offset)?;
    tuple.replace_lock_bits(page, update.old_infobits)?;
    match kind {
        Kind::Hot => tuple.change_infomask2(page, HOT_UPDATED, 0)?,
        Kind::Ordinary => tuple.change_infomask2(page, 0, HOT_UPDATED)?,
    }
    tuple.set_xmax(page, update.old_xmax)?;
    tuple.reset_cmax(page)?;
    tuple.set_ctid(page, new_tuple)?;
    set_prunable(page, target.record.xid)?;
    if update.flags & OLD_ALL_VISIBLE_CLEARED != 0 {
        page.change_flags(0, ALL_VISIBLE)?;
    }
    Ok(())
}

fn add_new(
    page: &mut Page,
    target: &Target,
    update: &Update,
    own: ItemPointer,
) -> Result<(), RedoFailure> {
    let mut data = target.block_data();
    let prefix_length = match update.flags & PREFIX_FROM_OLD {
        0 => 0,
        _ => usize::from(data.u16("prefix length")?),
    };
    let suffix_length = match update.flags & SUFFIX_FROM_OLD {
        0 => 0,
        _ => usize::from(data.u16("suffix length")?),
    };
    let header = LoggedHeader::read(&mut data)?;
    // The bitmap comes before what the old tuple lends.
    let bitmap = match prefix_length {
        0 => &[][..],
        _ => {
            let length = usize::from(header.header_length).checked_sub(HEADER_BYTES);
            let length = length.ok_or(RedoFailure::BadRecord("tuple header is too short"))?;
            data.take(length, "null bitmap")?
        }
    };
    let (prefix, suffix) = borrow_from_old(page, update, prefix_length, suffix_length)?;
    let fixed = tuple::new_header(header, target.record.xid, update.new_xmax, own);
    let parts = [&fixed[..], bitmap, &prefix, data.rest(), &suffix];
    page.put_heap_item(update.new_offset, &parts)?;
    if update.flags & NEW_ALL_VISIBLE_CLEARED != 0 {
        page.change_flags(0, ALL_VISIBLE)?;
    }
    Ok(())
}

/// The user data that the new tuple shares with the old one, which is on the same page.
fn borrow_from_old(
    page: &Page,
    update: &Update,
    prefix_length: usize,
    suffix_length: usize,
) -> Result<(Vec<u8>, Vec<u8>), RedoFailure> {
    if prefix_length == 0 && suffix_length == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let old = HeapTuple::find(page, update.old_offset)?;
    let header_length = old.header_length(page)?;
    let available = old.length.saturating_sub(header_length);
    if prefix_length > available || suffix_length > available {
        return Err(RedoFailure::BadRecord("the old tuple is shorter than the shared data"));
    }
    let prefix = page.slice(old.at + header_length, prefix_length)?;
    let suffix = page.slice(old.at + old.length - suffix_length, suffix_length)?;
    Ok((prefix.to_vec(), suffix.to_vec()))
}
