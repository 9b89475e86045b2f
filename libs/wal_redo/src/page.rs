//! A typed, bounds-checked view of one 8 KiB page: header, line pointers and raw members.
//!
//! Layout: PostgreSQL's `storage/bufpage.h`. Item operations are in [`items`]. Nothing here
//! knows what a tuple means, and no operation reads or writes outside the page.

use postgres_ffi::BLCKSZ;
use utils::Lsn;

use crate::error::RedoFailure;

mod items;

/// Length of the page header, where the line pointers begin.
pub(crate) const HEADER_BYTES: usize = 24;
/// Length of one line pointer.
pub(crate) const LINE_POINTER_BYTES: usize = 4;
/// pd_flags: some line pointer is unused (a hint).
pub(crate) const HAS_FREE_LINES: u16 = 0x0001;
/// pd_flags: every tuple is visible to everybody.
pub(crate) const ALL_VISIBLE: u16 = 0x0004;
/// Size and layout version of every page.
const PAGE_SIZE_AND_VERSION: u16 = 0x2004;

const CHECKSUM_AT: usize = 8;
const FLAGS_AT: usize = 10;
const LOWER_AT: usize = 12;
const UPPER_AT: usize = 14;
const SPECIAL_AT: usize = 16;
const VERSION_AT: usize = 18;
const PRUNE_XID_AT: usize = 20;

/// Rounds a length up to the alignment of every stored tuple.
pub(crate) const fn max_align(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// State of a line pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemState {
    Unused,
    Normal,
    Redirect,
    Dead,
}

/// A line pointer taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinePointer {
    /// Byte offset of the item, or the target of a redirect.
    pub at: u16,
    pub state: ItemState,
    /// Length of the item in bytes.
    pub length: u16,
}

impl LinePointer {
    pub(crate) const UNUSED: LinePointer =
        LinePointer { at: 0, state: ItemState::Unused, length: 0 };
    pub(crate) const DEAD: LinePointer = LinePointer { at: 0, state: ItemState::Dead, length: 0 };

    fn from_bits(bits: u32) -> Self {
        let state = match (bits >> 15) & 3 {
            0 => ItemState::Unused,
            1 => ItemState::Normal,
            2 => ItemState::Redirect,
            _ => ItemState::Dead,
        };
        LinePointer { at: (bits & 0x7FFF) as u16, state, length: (bits >> 17) as u16 }
    }

    fn to_bits(self) -> u32 {
        u32::from(self.at & 0x7FFF) | (self.state as u32) << 15 | u32::from(self.length) << 17
    }

    /// Whether tuple data belong to the pointer.
    pub(crate) fn has_storage(self) -> bool {
        self.length != 0
    }
}

/// The page being changed.
pub(crate) struct Page<'a>(&'a mut [u8; BLCKSZ]);

/// The offsets of the page header that bound its parts, known to be in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub lower: usize,
    pub upper: usize,
    pub special: usize,
}

impl<'a> Page<'a> {
    pub(crate) fn new(bytes: &'a mut [u8; BLCKSZ]) -> Self {
        Page(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; BLCKSZ] {
        self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; BLCKSZ] {
        self.0
    }

    pub(crate) fn slice(&self, at: usize, length: usize) -> Result<&[u8], RedoFailure> {
        self.0.get(at..at.saturating_add(length)).ok_or(RedoFailure::OutOfPage { at, length })
    }

    pub(crate) fn slice_mut(&mut self, at: usize, length: usize) -> Result<&mut [u8], RedoFailure> {
        self.0.get_mut(at..at.saturating_add(length)).ok_or(RedoFailure::OutOfPage { at, length })
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], RedoFailure> {
        let out = RedoFailure::OutOfPage { at, length: N };
        self.slice(at, N)?.try_into().map_err(|_| out)
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), RedoFailure> {
        self.slice_mut(at, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn u8(&self, at: usize) -> Result<u8, RedoFailure> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(crate) fn u16(&self, at: usize) -> Result<u16, RedoFailure> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, at: usize) -> Result<u32, RedoFailure> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn set_u8(&mut self, at: usize, value: u8) -> Result<(), RedoFailure> {
        self.put(at, &[value])
    }

    pub(crate) fn set_u16(&mut self, at: usize, value: u16) -> Result<(), RedoFailure> {
        self.put(at, &value.to_le_bytes())
    }

    pub(crate) fn set_u32(&mut self, at: usize, value: u32) -> Result<(), RedoFailure> {
        self.put(at, &value.to_le_bytes())
    }

    pub(crate) fn set_u64(&mut self, at: usize, value: u64) -> Result<(), RedoFailure> {
        self.put(at, &value.to_le_bytes())
    }

    /// Makes the page an empty one with a special area of `special_bytes`.
    pub(crate) fn init(&mut self, special_bytes: usize) -> Result<(), RedoFailure> {
        self.0.fill(0);
        let special = (BLCKSZ - max_align(special_bytes)) as u16;
        self.set_u16(LOWER_AT, HEADER_BYTES as u16)?;
        self.set_u16(UPPER_AT, special)?;
        self.set_u16(SPECIAL_AT, special)?;
        self.set_u16(VERSION_AT, PAGE_SIZE_AND_VERSION)
    }

    /// Whether the page was never initialised.
    pub(crate) fn is_new(&self) -> bool {
        self.u16(UPPER_AT) == Ok(0)
    }

    pub(crate) fn lsn(&self) -> Result<Lsn, RedoFailure> {
        Ok(Lsn(u64::from(self.u32(0)?) << 32 | u64::from(self.u32(4)?)))
    }

    pub(crate) fn set_lsn(&mut self, lsn: Lsn) -> Result<(), RedoFailure> {
        self.set_u32(0, (lsn.0 >> 32) as u32)?;
        self.set_u32(4, lsn.0 as u32)
    }

    pub(crate) fn flags(&self) -> Result<u16, RedoFailure> {
        self.u16(FLAGS_AT)
    }

    /// Sets and clears bits of pd_flags.
    pub(crate) fn change_flags(&mut self, set: u16, clear: u16) -> Result<(), RedoFailure> {
        let flags = self.flags()?;
        self.set_u16(FLAGS_AT, flags & !clear | set)
    }

    pub(crate) fn prune_xid(&self) -> Result<u32, RedoFailure> {
        self.u32(PRUNE_XID_AT)
    }

    pub(crate) fn set_prune_xid(&mut self, xid: u32) -> Result<(), RedoFailure> {
        self.set_u32(PRUNE_XID_AT, xid)
    }

    /// Clears the two members that say nothing about content: LSN and checksum.
    pub(crate) fn clear_lsn_and_checksum(&mut self) -> Result<(), RedoFailure> {
        self.set_u64(0, 0)?;
        self.set_u16(CHECKSUM_AT, 0)
    }

    pub(crate) fn set_lower(&mut self, lower: usize) -> Result<(), RedoFailure> {
        self.set_u16(LOWER_AT, lower as u16)
    }

    pub(crate) fn set_upper(&mut self, upper: usize) -> Result<(), RedoFailure> {
        self.set_u16(UPPER_AT, upper as u16)
    }

    /// The header's bounds, if they are in order.
    pub(crate) fn bounds(&self) -> Result<Bounds, RedoFailure> {
        let (lower, upper, special) =
            (self.u16(LOWER_AT)?, self.u16(UPPER_AT)?, self.u16(SPECIAL_AT)?);
        let bounds = Bounds {
            lower: usize::from(lower),
            upper: usize::from(upper),
            special: usize::from(special),
        };
        let ordered = HEADER_BYTES <= bounds.lower
            && bounds.lower <= bounds.upper
            && bounds.upper <= bounds.special
            && bounds.special <= BLCKSZ;
        if ordered { Ok(bounds) } else { Err(RedoFailure::BadHeader { lower, upper, special }) }
    }

    /// Where a special area of exactly `length` bytes begins.
    pub(crate) fn special(&self, length: usize) -> Result<usize, RedoFailure> {
        let special = self.bounds()?.special;
        if BLCKSZ - special == max_align(length) {
            Ok(special)
        } else {
            Err(RedoFailure::BadPage("the special area has another access method's size"))
        }
    }

    /// Number of the last line pointer, 0 if there is none.
    pub(crate) fn max_offset(&self) -> Result<u16, RedoFailure> {
        Ok(((self.bounds()?.lower - HEADER_BYTES) / LINE_POINTER_BYTES) as u16)
    }

    fn line_pointer_at(offset: u16) -> usize {
        HEADER_BYTES + (usize::from(offset).saturating_sub(1)) * LINE_POINTER_BYTES
    }

    /// The line pointer with this number, which must exist.
    pub(crate) fn line_pointer(&self, offset: u16) -> Result<LinePointer, RedoFailure> {
        if offset == 0 || offset > self.max_offset()? {
            return Err(RedoFailure::BadItem { offset, problem: "does not exist" });
        }
        self.u32(Self::line_pointer_at(offset)).map(LinePointer::from_bits)
    }

    /// Replaces an existing line pointer.
    pub(crate) fn set_line_pointer(
        &mut self,
        offset: u16,
        pointer: LinePointer,
    ) -> Result<(), RedoFailure> {
        self.line_pointer(offset)?;
        self.put_line_pointer(offset, pointer)
    }

    fn put_line_pointer(&mut self, offset: u16, pointer: LinePointer) -> Result<(), RedoFailure> {
        self.set_u32(Self::line_pointer_at(offset), pointer.to_bits())
    }

    /// Every line pointer in order.
    pub(crate) fn line_pointers(&self) -> Result<Vec<LinePointer>, RedoFailure> {
        (1..=self.max_offset()?).map(|offset| self.line_pointer(offset)).collect()
    }

    /// Position and length of the item of a normal line pointer, inside the data area.
    pub(crate) fn normal_item(&self, offset: u16) -> Result<(usize, usize), RedoFailure> {
        let pointer = self.line_pointer(offset)?;
        if pointer.state != ItemState::Normal {
            return Err(RedoFailure::BadItem { offset, problem: "does not point to a tuple" });
        }
        self.storage(offset, pointer)
    }

    /// Position and length of an item that has storage, whatever its state.
    pub(crate) fn stored_item(&self, offset: u16) -> Result<(usize, usize), RedoFailure> {
        let pointer = self.line_pointer(offset)?;
        if !pointer.has_storage() {
            return Err(RedoFailure::BadItem { offset, problem: "has no storage" });
        }
        self.storage(offset, pointer)
    }

    fn storage(&self, offset: u16, pointer: LinePointer) -> Result<(usize, usize), RedoFailure> {
        let bounds = self.bounds()?;
        let (at, length) = (usize::from(pointer.at), usize::from(pointer.length));
        if at < bounds.upper || at + length > bounds.special {
            return Err(RedoFailure::BadItem { offset, problem: "leads outside the tuple area" });
        }
        Ok((at, length))
    }
}

#[cfg(test)]
mod tests;
