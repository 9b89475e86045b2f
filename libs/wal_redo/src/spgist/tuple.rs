//! Tuples of SP-GiST pages: leaves, inner tuples with their nodes, and dead ones.

use super::{PLACEHOLDERS_AT, REDIRECTIONS_AT, change_count};
use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::Page;
use crate::reader::Reader;

const STATE_MASK: u32 = 0x03;
const STATE_REDIRECT: u32 = 1;
const STATE_DEAD: u32 = 2;
const STATE_PLACEHOLDER: u32 = 3;

const DEAD_TUPLE_BYTES: u32 = 16;
const DEAD_POINTER_AT: usize = 6;
const LEAF_NEXT_AT: usize = 4;
const LEAF_NEXT_MASK: u16 = 0x3FFF;
const LEAF_MIN_BYTES: usize = 12;
const INNER_HEADER_BYTES: usize = 8;
const NODE_SIZE_MASK: u16 = 0x1FFF;
const NODE_HEADER_BYTES: usize = 8;

pub(super) const INVALID_POINTER: ItemPointer = ItemPointer { block: u32::MAX, offset: 0 };

/// Where a downlink or a redirect leads.
pub(super) type Link = ItemPointer;

impl Link {
    pub(super) fn new(block: u32, offset: u16) -> Link {
        ItemPointer { block, offset }
    }
}

/// What a tuple becomes when its content goes.
#[derive(Clone, Copy)]
pub(super) enum DeadState {
    /// Searches go on elsewhere.
    Redirect { link: Link, xid: u32 },
    /// Its chain is empty.
    Dead,
    /// Its number is free.
    Placeholder,
}

impl DeadState {
    fn to_tuple(self) -> Vec<u8> {
        let (state, pointer, xid) = match self {
            DeadState::Redirect { link, xid } => (STATE_REDIRECT, link, xid),
            DeadState::Dead => (STATE_DEAD, INVALID_POINTER, 0),
            DeadState::Placeholder => (STATE_PLACEHOLDER, INVALID_POINTER, 0),
        };
        let mut tuple = (state | DEAD_TUPLE_BYTES << 2).to_le_bytes().to_vec();
        tuple.extend_from_slice(&[0; 2]);
        tuple.extend_from_slice(&pointer.to_bytes());
        tuple.extend_from_slice(&xid.to_le_bytes());
        tuple
    }

    /// Counts the new tuple on its page.
    fn count(self, page: &mut Page) -> Result<(), RedoFailure> {
        match self {
            DeadState::Redirect { .. } => change_count(page, REDIRECTIONS_AT, 1),
            DeadState::Dead => Ok(()),
            DeadState::Placeholder => change_count(page, PLACEHOLDERS_AT, 1),
        }
    }
}

/// States for several tuples: one for the first in the record's list, one for the others.
#[derive(Clone, Copy)]
pub(super) struct KillAs {
    pub first: DeadState,
    pub rest: DeadState,
}

/// The leaf tuple at the front, as long as it says.
pub(super) fn take_leaf<'a>(data: &mut Reader<'a>) -> Result<&'a [u8], RedoFailure> {
    let size = data.clone().u32("leaf tuple header")? >> 2;
    if (size as usize) < LEAF_MIN_BYTES {
        return Err(RedoFailure::BadRecord("a leaf tuple is shorter than its header"));
    }
    data.take(size as usize, "leaf tuple")
}

/// The inner tuple at the front, as long as it says.
pub(super) fn take_inner<'a>(data: &mut Reader<'a>) -> Result<&'a [u8], RedoFailure> {
    let mut header = data.clone();
    header.skip(4, "inner tuple header")?;
    let size = usize::from(header.u16("inner tuple size")?);
    if size < INNER_HEADER_BYTES {
        return Err(RedoFailure::BadRecord("an inner tuple is shorter than its header"));
    }
    data.take(size, "inner tuple")
}

/// Adds a tuple, perhaps in place of a placeholder.
pub(super) fn add_or_replace(
    page: &mut Page,
    offset: u16,
    tuple: &[u8],
) -> Result<(), RedoFailure> {
    if offset <= page.max_offset()? {
        let (at, _) = page.stored_item(offset)?;
        if page.u32(at)? & STATE_MASK != STATE_PLACEHOLDER {
            return Err(RedoFailure::BadItem { offset, problem: "is not a placeholder" });
        }
        change_count(page, PLACEHOLDERS_AT, -1)?;
        page.delete_index_item(offset)?;
    }
    page.insert_item(offset, tuple)
}

/// Replaces one tuple by a dead one.
pub(super) fn kill_one(page: &mut Page, offset: u16, state: DeadState) -> Result<(), RedoFailure> {
    page.delete_index_item(offset)?;
    page.insert_item(offset, &state.to_tuple())?;
    state.count(page)
}

/// Replaces several tuples by dead ones.
pub(super) fn kill(page: &mut Page, offsets: &[u16], states: KillAs) -> Result<(), RedoFailure> {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    page.delete_index_items(&sorted)?;
    for offset in sorted {
        let is_first = offsets.first() == Some(&offset);
        let state = if is_first { states.first } else { states.rest };
        page.insert_item(offset, &state.to_tuple())?;
        state.count(page)?;
    }
    Ok(())
}

/// Chains a leaf tuple to another.
pub(super) fn set_next_offset(page: &mut Page, offset: u16, next: u16) -> Result<(), RedoFailure> {
    let (at, _) = page.stored_item(offset)?;
    let info = page.u16(at + LEAF_NEXT_AT)?;
    page.set_u16(at + LEAF_NEXT_AT, info & !LEAF_NEXT_MASK | next & LEAF_NEXT_MASK)
}

/// Points a node of an inner tuple elsewhere.
pub(super) fn set_link(
    page: &mut Page,
    inner: u16,
    node: u16,
    link: Link,
) -> Result<(), RedoFailure> {
    let (at, length) = page.stored_item(inner)?;
    let bits = page.u32(at)?;
    let nodes = bits >> 3 & 0x1FFF;
    if u32::from(node) >= nodes {
        return Err(RedoFailure::BadPage("an inner tuple has no such node"));
    }
    let prefix_bytes = (bits >> 16) as usize;
    let mut node_at = at + INNER_HEADER_BYTES + prefix_bytes;
    let end = at + length;
    for _ in 0..node {
        let size = usize::from(page.u16(node_at + 6)? & NODE_SIZE_MASK);
        node_at += size;
        if size < NODE_HEADER_BYTES || node_at >= end {
            return Err(RedoFailure::BadPage("a node is longer than its inner tuple"));
        }
    }
    if node_at + NODE_HEADER_BYTES > end {
        return Err(RedoFailure::BadPage("a node is longer than its inner tuple"));
    }
    page.set_item_pointer(node_at, link)
}

/// A redirect whose readers are gone becomes a placeholder; its transaction stays.
pub(super) fn forget_redirect(page: &mut Page, offset: u16) -> Result<(), RedoFailure> {
    let (at, _) = page.stored_item(offset)?;
    let bits = page.u32(at)?;
    if bits & STATE_MASK != STATE_REDIRECT {
        return Err(RedoFailure::BadItem { offset, problem: "is not a redirect" });
    }
    page.set_u32(at, bits & !STATE_MASK | STATE_PLACEHOLDER)?;
    page.set_item_pointer(at + DEAD_POINTER_AT, INVALID_POINTER)
}
