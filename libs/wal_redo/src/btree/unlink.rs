//! Deletion of pages: first a leaf becomes half-dead, then pages are unlinked one by one.

use super::{
    DELETED, HALF_DEAD, HAS_FULL_XID, LEAF, NEXT_AT, NO_PAGE, PREV_AT, PageKind, init, leaf_flag,
    set_special_u32,
};
use crate::error::RedoFailure;
use crate::item_pointer::ItemPointer;
use crate::page::{HEADER_BYTES, Page};
use crate::target::Target;

/// A leaf that is being deleted, as the record describes it.
struct HalfDead {
    prev: u32,
    next: u32,
    top_parent: u32,
}

impl HalfDead {
    /// Rebuilds the page; its only item remembers the top of the chain to delete.
    fn build(&self, page: &mut Page) -> Result<(), RedoFailure> {
        /// t_info: the size of a bare header, and a t_tid that is no heap pointer.
        const INFO: u16 = 0x2008;
        let flags = LEAF | HALF_DEAD;
        init(page, &PageKind { prev: self.prev, next: self.next, level: 0, flags })?;
        let mut tuple = ItemPointer { block: self.top_parent, offset: 0 }.to_bytes().to_vec();
        tuple.extend_from_slice(&INFO.to_le_bytes());
        page.insert_item(1, &tuple)
    }
}

/// MARK_PAGE_HALFDEAD: the leaf, or the parent that loses a downlink.
pub(super) fn mark_half_dead(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let parent_offset = main.u16("downlink number")?;
    main.align(4);
    main.skip(4, "leaf block")?;
    let prev = main.u32("left sibling")?;
    let next = main.u32("right sibling")?;
    let top_parent = main.u32("top parent")?;
    if target.reference.id == 0 {
        return HalfDead { prev, next, top_parent }.build(page);
    }
    // The downlink takes over the right sibling's target, whose own entry goes.
    let next_offset = parent_offset.saturating_add(1);
    let (next_at, _) = page.stored_item(next_offset)?;
    let right_sibling = page.item_pointer(next_at)?;
    let (at, _) = page.stored_item(parent_offset)?;
    let downlink = ItemPointer { block: right_sibling.block, ..page.item_pointer(at)? };
    page.set_item_pointer(at, downlink)?;
    page.delete_index_item(next_offset)
}

/// UNLINK_PAGE: the page itself, its siblings, and the leaf that remembers the chain.
pub(super) fn unlink(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let left = main.u32("left sibling")?;
    let right = main.u32("right sibling")?;
    let level = main.u32("level")?;
    main.align(8);
    let safe_xid = main.u64("transaction after which the page is free")?;
    match target.reference.id {
        0 => {
            let flags = DELETED | HAS_FULL_XID | leaf_flag(level);
            init(page, &PageKind { prev: left, next: right, level, flags })?;
            page.set_u64(HEADER_BYTES, safe_xid)?;
            page.set_lower(HEADER_BYTES + 8)
        }
        1 if left == NO_PAGE => Err(RedoFailure::UnexpectedReference(1)),
        1 => set_special_u32(page, NEXT_AT, right),
        2 => set_special_u32(page, PREV_AT, left),
        _ => {
            let prev = main.u32("left sibling of the leaf")?;
            let next = main.u32("right sibling of the leaf")?;
            let top_parent = main.u32("top parent")?;
            HalfDead { prev, next, top_parent }.build(page)
        }
    }
}
