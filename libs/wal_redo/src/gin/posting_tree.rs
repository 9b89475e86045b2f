//! Pages of posting trees: compressed leaves and internal pages of downlinks.

use super::posting_list::{decode, encode, parse_items, split_segment};
use super::{COMPRESSED, DATA, LEAF, change_flags, flags, init, max_offset, set_max_offset};
use crate::error::RedoFailure;
use crate::item_pointer::ITEM_POINTER_BYTES;
use crate::page::{HEADER_BYTES, Page};
use crate::reader::Reader;
use crate::target::Target;

/// Where content begins, behind the right bound.
const CONTENT_AT: usize = HEADER_BYTES + 8;
/// A downlink: child block and key.
const ITEM_BYTES: usize = 10;

const SEGMENT_DELETE: u8 = 1;
const SEGMENT_INSERT: u8 = 2;
const SEGMENT_REPLACE: u8 = 3;
const SEGMENT_ADD_ITEMS: u8 = 4;

fn set_content_size(page: &mut Page, size: usize) -> Result<(), RedoFailure> {
    let lower = CONTENT_AT + size;
    if lower > page.bounds()?.special {
        return Err(RedoFailure::PageFull { length: size });
    }
    page.set_lower(lower)
}

/// A new tree of one leaf.
pub(super) fn create(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let size = main.u32("posting list size")? as usize;
    let content = main.take(size, "posting list")?;
    init(page, DATA | LEAF | COMPRESSED)?;
    set_content_size(page, size)?;
    page.put(CONTENT_AT, content)
}

/// Inserts a downlink; the one before it now leads to the right child.
pub(super) fn insert_internal(
    page: &mut Page,
    right_child: u32,
    data: &mut Reader,
) -> Result<(), RedoFailure> {
    let offset = data.u16("downlink number")?;
    let item = data.take(ITEM_BYTES, "downlink")?;
    let count = max_offset(page)?;
    if offset == 0 || offset > count {
        return Err(RedoFailure::BadItem { offset, problem: "does not exist" });
    }
    let at = CONTENT_AT + usize::from(offset - 1) * ITEM_BYTES;
    let end = CONTENT_AT + usize::from(count) * ITEM_BYTES;
    // The number is the page's own claim; that the content fits says that one more can be counted.
    set_content_size(page, (usize::from(count) + 1) * ITEM_BYTES)?;
    page.set_u16(at, (right_child >> 16) as u16)?;
    page.set_u16(at + 2, right_child as u16)?;
    page.slice_mut(at, end - at + ITEM_BYTES)?.copy_within(..end - at, ITEM_BYTES);
    page.put(at, item)?;
    set_max_offset(page, count + 1)
}

/// Removes a downlink.
pub(super) fn delete_internal(page: &mut Page, offset: u16) -> Result<(), RedoFailure> {
    let count = max_offset(page)?;
    if offset == 0 || offset > count {
        return Err(RedoFailure::BadItem { offset, problem: "does not exist" });
    }
    let at = CONTENT_AT + usize::from(offset - 1) * ITEM_BYTES;
    let end = CONTENT_AT + usize::from(count) * ITEM_BYTES;
    page.slice_mut(at, end - at)?.copy_within(ITEM_BYTES.., 0);
    set_max_offset(page, count - 1)?;
    set_content_size(page, usize::from(count - 1) * ITEM_BYTES)
}

/// The segments of a leaf. One in the format before 9.4 is converted.
fn leaf_content(page: &mut Page) -> Result<Vec<u8>, RedoFailure> {
    if flags(page)? & COMPRESSED != 0 {
        let size = page.bounds()?.lower.checked_sub(CONTENT_AT);
        let size = size.ok_or(RedoFailure::BadPage("a posting tree leaf has no content"))?;
        return Ok(page.slice(CONTENT_AT, size)?.to_vec());
    }
    let count = usize::from(max_offset(page)?);
    let items = parse_items(page.slice(CONTENT_AT, count * ITEM_POINTER_BYTES)?);
    change_flags(page, COMPRESSED, 0)?;
    set_max_offset(page, 0)?;
    if items.is_empty() { Ok(Vec::new()) } else { encode(&items) }
}

/// Changes segments of a leaf; numbers refer to the segments before the change.
pub(super) fn recompress(page: &mut Page, data: &mut Reader) -> Result<(), RedoFailure> {
    let old = leaf_content(page)?;
    let mut rest = old.as_slice();
    let mut content = Vec::with_capacity(old.len());
    let mut position = 0;
    for _ in 0..data.u16("action count")? {
        let number = data.u8("segment number")?;
        let action = data.u8("segment action")?;
        if number < position {
            return Err(RedoFailure::BadRecord("segment actions are not in order"));
        }
        while position < number {
            let (segment, after) = split_segment(rest)?;
            content.extend_from_slice(segment);
            rest = after;
            position += 1;
        }
        match action {
            SEGMENT_INSERT => content.extend_from_slice(take_segment(data)?),
            SEGMENT_DELETE | SEGMENT_REPLACE | SEGMENT_ADD_ITEMS => {
                let (segment, after) = split_segment(rest)?;
                match action {
                    SEGMENT_REPLACE => content.extend_from_slice(take_segment(data)?),
                    SEGMENT_ADD_ITEMS => content.append(&mut add_items(segment, data)?),
                    _ => {}
                }
                rest = after;
                position += 1;
            }
            _ => return Err(RedoFailure::BadRecord("unknown segment action")),
        }
    }
    content.extend_from_slice(rest);
    set_content_size(page, content.len())?;
    page.put(CONTENT_AT, &content)
}

fn take_segment<'a>(data: &mut Reader<'a>) -> Result<&'a [u8], RedoFailure> {
    let (segment, _) = split_segment(data.clone().rest())?;
    data.take(segment.len(), "segment")
}

/// A segment with more items merged in.
fn add_items(segment: &[u8], data: &mut Reader) -> Result<Vec<u8>, RedoFailure> {
    let count = usize::from(data.u16("item count")?);
    let mut items = parse_items(data.take(count * ITEM_POINTER_BYTES, "items")?);
    items.append(&mut decode(segment)?);
    items.sort_unstable();
    encode(&items)
}

#[cfg(test)]
mod tests;
