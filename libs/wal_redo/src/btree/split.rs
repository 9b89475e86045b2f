//! Page splits: the left half is rebuilt from its old items, the right half from the record.

use postgres_ffi::BLCKSZ;

use super::tuple::{self, Posting};
use super::{
    CYCLE_ID_AT, FLAGS_AT, INCOMPLETE_SPLIT, NEXT_AT, NO_PAGE, PageKind, SPECIAL_BYTES,
    first_data_key, init, leaf_flag, restore_items,
};
use crate::error::RedoFailure;
use crate::page::{Page, max_align};
use crate::target::Target;

/// Which half the new item went to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NewItem {
    OnLeft,
    OnRight,
}

/// The record's main data.
struct Split {
    level: u32,
    first_right_offset: u16,
    new_item_offset: u16,
    /// Where the new item splits the posting list before it; 0 if it does not.
    posting_position: u16,
}

impl Split {
    fn read(target: &Target) -> Result<Self, RedoFailure> {
        let mut main = target.main_data();
        Ok(Split {
            level: main.u32("level")?,
            first_right_offset: main.u16("first item on the right")?,
            new_item_offset: main.u16("new item number")?,
            posting_position: main.u16("posting position")?,
        })
    }
}

/// The new right page.
pub(super) fn right(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let split = Split::read(target)?;
    let kind = PageKind {
        prev: target.block_number(0)?,
        next: target.record.block_by_id(2).map_or(NO_PAGE, |sibling| sibling.block),
        level: split.level,
        flags: leaf_flag(split.level),
    };
    init(page, &kind)?;
    restore_items(page, target.block_data().rest())
}

/// What the left half gains: its high key, and perhaps the new item and a changed posting.
struct LeftItems {
    high_key: Vec<u8>,
    new_item: Option<Vec<u8>>,
    /// Replaces the item before the new one.
    posting: Option<Vec<u8>>,
}

impl LeftItems {
    fn read(
        page: &Page,
        target: &Target,
        split: &Split,
        side: NewItem,
    ) -> Result<Self, RedoFailure> {
        let mut data = target.block_data().rest();
        let mut new_item = None;
        let mut posting = None;
        if side == NewItem::OnLeft || split.posting_position != 0 {
            let mut item = take_tuple(&mut data)?.to_vec();
            if split.posting_position != 0 {
                let (at, length) = page.stored_item(split.new_item_offset.saturating_sub(1))?;
                let mut old = Posting::parse_list(page.slice(at, length)?)?;
                old.swap(&mut item, split.posting_position)?;
                posting = Some(old.to_bytes()?);
            }
            new_item = (side == NewItem::OnLeft).then_some(item);
        }
        let high_key = take_tuple(&mut data)?.to_vec();
        if !data.is_empty() {
            return Err(RedoFailure::BadRecord("data remain after the high key"));
        }
        Ok(LeftItems { high_key, new_item, posting })
    }
}

/// Splits the tuple at the front off, with its padding.
fn take_tuple<'a>(data: &mut &'a [u8]) -> Result<&'a [u8], RedoFailure> {
    let size = max_align(tuple::size(data)?);
    let (tuple, rest) = data.split_at_checked(size).ok_or(RedoFailure::Truncated {
        what: "index tuple",
        needed: size.saturating_sub(data.len()),
    })?;
    *data = rest;
    Ok(tuple)
}

/// The old page, which keeps the lower keys.
pub(super) fn left(page: &mut Page, target: &Target, side: NewItem) -> Result<(), RedoFailure> {
    let split = Split::read(target)?;
    let items = LeftItems::read(page, target, &split, side)?;
    let mut bytes = [0; BLCKSZ];
    let mut fresh = fresh_copy(page, &mut bytes)?;
    append(&mut fresh, &items.high_key)?;
    for offset in first_data_key(page)?..split.first_right_offset {
        let replaced = split.posting_position != 0 && offset + 1 == split.new_item_offset;
        if let Some(posting) = items.posting.as_ref().filter(|_| replaced) {
            append(&mut fresh, posting)?;
            continue;
        }
        if let Some(new_item) = items.new_item.as_ref().filter(|_| offset == split.new_item_offset)
        {
            append(&mut fresh, new_item)?;
        }
        let (at, length) = page.stored_item(offset)?;
        append(&mut fresh, page.slice(at, length)?)?;
    }
    let at_end = split.new_item_offset == split.first_right_offset;
    if let Some(new_item) = items.new_item.as_ref().filter(|_| at_end) {
        append(&mut fresh, new_item)?;
    }
    let special = fresh.special(SPECIAL_BYTES)?;
    fresh.set_u16(special + FLAGS_AT, INCOMPLETE_SPLIT | leaf_flag(split.level))?;
    fresh.set_u32(special + NEXT_AT, target.block_number(1)?)?;
    fresh.set_u16(special + CYCLE_ID_AT, 0)?;
    *page.bytes_mut() = bytes;
    Ok(())
}

/// An empty page with a copy of another page's special area.
pub(super) fn fresh_copy<'a>(
    page: &Page,
    bytes: &'a mut [u8; BLCKSZ],
) -> Result<Page<'a>, RedoFailure> {
    let special = page.special(SPECIAL_BYTES)?;
    let mut fresh = Page::new(bytes);
    fresh.init(SPECIAL_BYTES)?;
    fresh.put(special, page.slice(special, SPECIAL_BYTES)?)?;
    Ok(fresh)
}

/// Adds an item after the last one.
pub(super) fn append(page: &mut Page, item: &[u8]) -> Result<(), RedoFailure> {
    page.insert_item(page.max_offset()? + 1, item)
}
