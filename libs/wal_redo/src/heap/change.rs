//! Records that change an existing tuple in place: DELETE, CONFIRM, LOCK, LOCK_UPDATED and
//! INPLACE.

use super::tuple::{HOT_UPDATED, HeapTuple, MOVED_PARTITIONS, set_prunable};
use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::{ALL_VISIBLE, Page};
use crate::target::{Stamp, Target};

const DELETE_ALL_VISIBLE_CLEARED: u8 = 0x01;
/// A speculative insertion is taken back.
const DELETE_SUPER: u8 = 0x08;
const DELETE_PARTITION_MOVE: u8 = 0x10;

/// The members that DELETE, LOCK and LOCK_UPDATED have in common.
struct XmaxChange {
    xmax: u32,
    offset: u16,
    infobits: u8,
    flags: u8,
}

impl XmaxChange {
    fn read(target: &Target) -> Result<Self, RedoFailure> {
        let mut main = target.main_data();
        Ok(XmaxChange {
            xmax: main.u32("xmax")?,
            offset: main.u16("tuple number")?,
            infobits: main.u8("infomask bits")?,
            flags: main.u8("flags")?,
        })
    }
}

fn own_pointer(target: &Target, offset: u16) -> ItemPointer {
    ItemPointer { block: target.reference.block, offset }
}

pub(super) fn delete(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let change = XmaxChange::read(target)?;
    let tuple = HeapTuple::find(page, change.offset)?;
    tuple.replace_lock_bits(page, change.infobits)?;
    tuple.change_infomask2(page, 0, HOT_UPDATED)?;
    if change.flags & DELETE_SUPER != 0 {
        tuple.set_xmin(page, 0)?;
    } else {
        tuple.set_xmax(page, change.xmax)?;
    }
    tuple.reset_cmax(page)?;
    set_prunable(page, target.record.xid)?;
    if change.flags & DELETE_ALL_VISIBLE_CLEARED != 0 {
        page.change_flags(0, ALL_VISIBLE)?;
    }
    let ctid = if change.flags & DELETE_PARTITION_MOVE != 0 {
        MOVED_PARTITIONS
    } else {
        own_pointer(target, change.offset)
    };
    tuple.set_ctid(page, ctid)?;
    Ok(Stamp::EndLsn)
}

/// A speculative insertion becomes an ordinary tuple.
pub(super) fn confirm(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let offset = target.main_data().u16("tuple number")?;
    let tuple = HeapTuple::find(page, offset)?;
    tuple.set_ctid(page, own_pointer(target, offset))?;
    Ok(Stamp::EndLsn)
}

pub(super) fn lock(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let change = XmaxChange::read(target)?;
    let tuple = HeapTuple::find(page, change.offset)?;
    tuple.replace_lock_bits(page, change.infobits)?;
    if tuple.is_locked_only(page)? {
        tuple.change_infomask2(page, 0, HOT_UPDATED)?;
        tuple.set_ctid(page, own_pointer(target, change.offset))?;
    }
    tuple.set_xmax(page, change.xmax)?;
    tuple.reset_cmax(page)?;
    Ok(Stamp::EndLsn)
}

/// Locks a later version in an update chain; its ctid and command id stay.
pub(super) fn lock_updated(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let change = XmaxChange::read(target)?;
    let tuple = HeapTuple::find(page, change.offset)?;
    tuple.replace_lock_bits(page, change.infobits)?;
    tuple.set_xmax(page, change.xmax)?;
    Ok(Stamp::EndLsn)
}

/// Overwrites a tuple's user data with others of the same length.
pub(super) fn inplace(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let offset = target.main_data().u16("tuple number")?;
    let tuple = HeapTuple::find(page, offset)?;
    let header_length = tuple.header_length(page)?;
    let data = target.block_data().rest();
    if header_length + data.len() != tuple.length {
        return Err(RedoFailure::BadRecord("the in-place update has another length"));
    }
    page.put(tuple.at + header_length, data)?;
    Ok(Stamp::EndLsn)
}
