//! Adding, deleting, moving and replacing items, with PostgreSQL's exact placement.
//!
//! Where an item lands is part of the result that later records and consistency checks rely
//! on; the rules are those of `storage/page/bufpage.c`.

use super::{
    HAS_FREE_LINES, HEADER_BYTES, ItemState, LINE_POINTER_BYTES, LinePointer, Page, max_align,
};
use crate::error::RedoFailure;

/// Line pointers that a heap page can have at most.
const MAX_HEAP_TUPLES: u16 = 291;

impl Page<'_> {
    /// Adds an item at `offset`, shifting later line pointers up by one.
    pub(crate) fn insert_item(&mut self, offset: u16, item: &[u8]) -> Result<(), RedoFailure> {
        self.insert_item_of_length(offset, item, item.len())
    }

    /// As [`Page::insert_item`], with a line pointer that says `length` (at least the item's
    /// own length; the rest of the space is zeroed).
    pub(crate) fn insert_item_of_length(
        &mut self,
        offset: u16,
        item: &[u8],
        length: usize,
    ) -> Result<(), RedoFailure> {
        let max = self.max_offset()?;
        if offset == 0 || offset > max + 1 {
            return Err(RedoFailure::BadItem { offset, problem: "leaves a gap" });
        }
        let at = self.reserve(length, LINE_POINTER_BYTES)?;
        let first = Self::line_pointer_at(offset);
        let end = Self::line_pointer_at(max + 1);
        self.slice_mut(first, end - first + LINE_POINTER_BYTES)?
            .copy_within(..end - first, LINE_POINTER_BYTES);
        self.place(offset, at, item, length)
    }

    /// Adds a heap or BRIN item at `offset`, which is unused or the next number.
    pub(crate) fn put_item(&mut self, offset: u16, item: &[u8]) -> Result<(), RedoFailure> {
        self.put_item_of_parts(offset, &[item])
    }

    fn put_item_of_parts(&mut self, offset: u16, parts: &[&[u8]]) -> Result<(), RedoFailure> {
        let length = parts.iter().map(|part| part.len()).sum();
        let max = self.max_offset()?;
        if offset == 0 || offset > max + 1 {
            return Err(RedoFailure::BadItem { offset, problem: "leaves a gap" });
        }
        let mut pointer_bytes = LINE_POINTER_BYTES;
        if offset <= max {
            let old = self.line_pointer(offset)?;
            if old.state != ItemState::Unused || old.has_storage() {
                return Err(RedoFailure::BadItem { offset, problem: "is in use" });
            }
            pointer_bytes = 0;
        }
        let at = self.reserve(length, pointer_bytes)?;
        let mut end = at;
        for part in parts {
            self.put(end, part)?;
            end += part.len();
        }
        self.point_to(offset, at, length)
    }

    /// As [`Page::put_item`], within the limit of heap pages, with the item in parts.
    pub(crate) fn put_heap_item(
        &mut self,
        offset: u16,
        parts: &[&[u8]],
    ) -> Result<(), RedoFailure> {
        if offset > MAX_HEAP_TUPLES {
            return Err(RedoFailure::BadItem { offset, problem: "is beyond what a page can hold" });
        }
        self.put_item_of_parts(offset, parts)
    }

    /// Takes space for an item and perhaps its line pointer; returns the item's position.
    fn reserve(&mut self, length: usize, pointer_bytes: usize) -> Result<usize, RedoFailure> {
        let bounds = self.bounds()?;
        let full = RedoFailure::PageFull { length };
        let Some(upper) = bounds.upper.checked_sub(max_align(length)) else { return Err(full) };
        let lower = bounds.lower + pointer_bytes;
        if lower > upper {
            return Err(full);
        }
        self.set_lower(lower)?;
        self.set_upper(upper)?;
        Ok(upper)
    }

    fn place(
        &mut self,
        offset: u16,
        at: usize,
        item: &[u8],
        length: usize,
    ) -> Result<(), RedoFailure> {
        self.slice_mut(at, length)?.fill(0);
        self.put(at, item)?;
        self.point_to(offset, at, length)
    }

    fn point_to(&mut self, offset: u16, at: usize, length: usize) -> Result<(), RedoFailure> {
        let pointer =
            LinePointer { at: at as u16, state: ItemState::Normal, length: length as u16 };
        self.put_line_pointer(offset, pointer)
    }

    /// Removes an index item and its line pointer.
    pub(crate) fn delete_index_item(&mut self, offset: u16) -> Result<(), RedoFailure> {
        let (at, length) = self.stored_item(offset)?;
        let max = self.max_offset()?;
        let first = Self::line_pointer_at(offset);
        let end = Self::line_pointer_at(max) + LINE_POINTER_BYTES;
        self.slice_mut(first, end - first)?.copy_within(LINE_POINTER_BYTES.., 0);
        self.set_lower(end - LINE_POINTER_BYTES)?;
        self.move_data_below(at, max_align(length) as isize, false)
    }

    /// Removes several index items, named in ascending order.
    pub(crate) fn delete_index_items(&mut self, offsets: &[u16]) -> Result<(), RedoFailure> {
        if !offsets.is_sorted_by(|a, b| a < b) {
            return Err(RedoFailure::BadRecord("item numbers are not in ascending order"));
        }
        if offsets.len() <= 2 {
            return offsets.iter().rev().try_for_each(|offset| self.delete_index_item(*offset));
        }
        for offset in offsets {
            self.stored_item(*offset)?;
        }
        let mut kept = Vec::new();
        for offset in 1..=self.max_offset()? {
            if offsets.binary_search(&offset).is_err() {
                kept.push(self.line_pointer(offset)?);
            }
        }
        self.set_lower(HEADER_BYTES + kept.len() * LINE_POINTER_BYTES)?;
        self.replace_line_pointers(kept)
    }

    /// Removes a BRIN item; its number stays, unless it is the last.
    pub(crate) fn delete_item_keep_number(&mut self, offset: u16) -> Result<(), RedoFailure> {
        let (at, length) = self.stored_item(offset)?;
        let last = self.max_offset()?;
        self.set_line_pointer(offset, LinePointer::UNUSED)?;
        self.move_data_below(at, max_align(length) as isize, true)?;
        if offset == last {
            self.set_lower(Self::line_pointer_at(offset))?;
        }
        Ok(())
    }

    /// Replaces an item's bytes; data below it move when its aligned size changes.
    pub(crate) fn overwrite_item(&mut self, offset: u16, item: &[u8]) -> Result<(), RedoFailure> {
        let (at, old_length) = self.stored_item(offset)?;
        let bounds = self.bounds()?;
        let (old, new) = (max_align(old_length), max_align(item.len()));
        if new > old + (bounds.upper - bounds.lower) {
            return Err(RedoFailure::PageFull { length: item.len() });
        }
        let shift = old as isize - new as isize;
        if shift != 0 {
            self.move_data_below(at, shift, true)?;
        }
        let mut pointer = self.line_pointer(offset)?;
        pointer.at = at.saturating_add_signed(shift) as u16;
        pointer.length = item.len() as u16;
        self.set_line_pointer(offset, pointer)?;
        self.put(usize::from(pointer.at), item)
    }

    /// Moves the data between upper and `at` by `shift` bytes (positive: towards the end of
    /// the page), adjusting the pointers to them, `at` included.
    fn move_data_below(
        &mut self,
        at: usize,
        shift: isize,
        stored_only: bool,
    ) -> Result<(), RedoFailure> {
        let bounds = self.bounds()?;
        let target = bounds.upper.saturating_add_signed(shift);
        let length = at.saturating_sub(bounds.upper);
        if target < bounds.lower || target + length > bounds.special {
            return Err(RedoFailure::OutOfPage { at: target, length });
        }
        self.bytes_mut().copy_within(bounds.upper..bounds.upper + length, target);
        for offset in 1..=self.max_offset()? {
            let mut pointer = self.line_pointer(offset)?;
            let skipped = stored_only && !pointer.has_storage();
            if !skipped && usize::from(pointer.at) <= at {
                pointer.at = usize::from(pointer.at).saturating_add_signed(shift) as u16;
                self.put_line_pointer(offset, pointer)?;
            }
        }
        self.set_upper(target)
    }

    /// Writes these line pointers and packs their items against the special area, the first
    /// pointer's item highest. Lower must already have room for them.
    fn replace_line_pointers(&mut self, mut pointers: Vec<LinePointer>) -> Result<(), RedoFailure> {
        let bounds = self.bounds()?;
        let old = *self.bytes();
        let mut upper = bounds.special;
        for (index, pointer) in pointers.iter_mut().enumerate() {
            let offset = index as u16 + 1;
            if pointer.has_storage() {
                let (at, length) = self.storage(offset, *pointer)?;
                let aligned = max_align(length);
                let next = upper.checked_sub(aligned).filter(|next| *next >= bounds.lower);
                upper = next.ok_or(RedoFailure::PageFull { length })?;
                // The padding moves along with the item, as in PostgreSQL.
                let end = (at + aligned).min(bounds.special);
                let bytes = old.get(at..end).unwrap_or_default();
                self.put(upper, bytes)?;
                pointer.at = upper as u16;
            }
        }
        for (index, pointer) in pointers.iter().enumerate() {
            self.put_line_pointer(index as u16 + 1, *pointer)?;
        }
        self.set_upper(upper)
    }

    /// Heap: packs the items, clears and cuts off unused line pointers.
    pub(crate) fn repair_fragmentation(&mut self) -> Result<(), RedoFailure> {
        let mut pointers = self.line_pointers()?;
        for pointer in &mut pointers {
            if pointer.state == ItemState::Unused {
                *pointer = LinePointer::UNUSED;
            }
        }
        let used = pointers.iter().rposition(|p| p.state != ItemState::Unused);
        pointers.truncate(used.map_or(0, |last| last + 1));
        let has_free = pointers.iter().any(|p| p.state == ItemState::Unused);
        self.set_lower(HEADER_BYTES + pointers.len() * LINE_POINTER_BYTES)?;
        self.replace_line_pointers(pointers)?;
        self.mark_free_lines(has_free)
    }

    /// Heap: cuts off trailing unused line pointers, but never the first.
    pub(crate) fn truncate_line_pointers(&mut self) -> Result<(), RedoFailure> {
        let pointers = self.line_pointers()?;
        let used = pointers.iter().rposition(|p| p.state != ItemState::Unused);
        let kept = used.map_or(1, |last| last + 1).min(pointers.len());
        let has_free = pointers.iter().take(kept).any(|p| p.state == ItemState::Unused);
        self.set_lower(HEADER_BYTES + kept * LINE_POINTER_BYTES)?;
        self.mark_free_lines(has_free)
    }

    fn mark_free_lines(&mut self, has_free: bool) -> Result<(), RedoFailure> {
        if has_free {
            self.change_flags(HAS_FREE_LINES, 0)
        } else {
            self.change_flags(0, HAS_FREE_LINES)
        }
    }
}
