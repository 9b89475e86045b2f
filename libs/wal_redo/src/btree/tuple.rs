//! Index tuples of B-trees: plain ones, and posting tuples that hold many heap pointers.
//!
//! A posting tuple is a key followed by an ascending list of item pointers; its own t_tid says
//! where the list begins and how long it is.

use crate::error::RedoFailure;
use crate::item_pointer::{ITEM_POINTER_BYTES, ItemPointer};
use crate::page::max_align;
use crate::reader::Reader;

/// Length of the header of an index tuple.
const HEADER_BYTES: usize = 8;
const INFO_AT: usize = 6;
const SIZE_MASK: u16 = 0x1FFF;
/// t_tid does not point to the heap.
const ALTERNATIVE_TID: u16 = 0x2000;
/// In the offset of an alternative t_tid: the tuple is a posting tuple.
const POSTING: u16 = 0x2000;
const COUNT_MASK: u16 = 0x0FFF;

fn info(tuple: &[u8]) -> Result<u16, RedoFailure> {
    let mut header = Reader::new(tuple);
    header.skip(INFO_AT, "index tuple header")?;
    header.u16("index tuple header")
}

/// The size that a tuple's own header says, at least the header's.
pub(super) fn size(tuple: &[u8]) -> Result<usize, RedoFailure> {
    let size = usize::from(info(tuple)? & SIZE_MASK);
    if size < HEADER_BYTES {
        return Err(RedoFailure::BadPage("an index tuple is shorter than its header"));
    }
    Ok(size)
}

/// A tuple's own bytes, without what follows them.
fn exact(tuple: &[u8]) -> Result<&[u8], RedoFailure> {
    tuple.get(..size(tuple)?).ok_or(RedoFailure::BadPage("an index tuple is cut short"))
}

/// An index tuple taken apart, ready to be combined with others.
#[derive(Clone, Debug)]
pub(super) struct Posting {
    /// Header and key.
    key: Vec<u8>,
    /// Heap pointers, ascending.
    heap_pointers: Vec<ItemPointer>,
    is_posting: bool,
}

impl Posting {
    /// Takes a leaf tuple apart.
    pub(super) fn parse(tuple: &[u8]) -> Result<Self, RedoFailure> {
        let tuple = exact(tuple)?;
        let own = ItemPointer::read(tuple)?;
        let alternative = info(tuple)? & ALTERNATIVE_TID != 0;
        if !alternative {
            let (key, heap_pointers) = (tuple.to_vec(), vec![own]);
            return Ok(Posting { key, heap_pointers, is_posting: false });
        }
        if own.offset & POSTING == 0 {
            return Err(RedoFailure::BadPage("a pivot tuple stands where a leaf tuple belongs"));
        }
        let bad = RedoFailure::BadPage("a posting tuple has its list outside itself");
        let Some((key, list)) = tuple.split_at_checked(own.block as usize) else {
            return Err(bad);
        };
        let count = usize::from(own.offset & COUNT_MASK);
        let Some(list) = list.get(..count * ITEM_POINTER_BYTES) else { return Err(bad) };
        if key.len() < HEADER_BYTES || count == 0 {
            return Err(bad);
        }
        let pointers = list.as_chunks::<ITEM_POINTER_BYTES>().0;
        let heap_pointers = pointers.iter().map(|bytes| ItemPointer::from_bytes(*bytes)).collect();
        Ok(Posting { key: key.to_vec(), heap_pointers, is_posting: true })
    }

    /// As [`Posting::parse`], when only a posting tuple will do.
    pub(super) fn parse_list(tuple: &[u8]) -> Result<Self, RedoFailure> {
        let posting = Self::parse(tuple)?;
        if posting.is_posting {
            Ok(posting)
        } else {
            Err(RedoFailure::BadPage("the tuple is not a posting tuple"))
        }
    }

    /// Takes over the heap pointers of the next tuple with the same key.
    pub(super) fn absorb(&mut self, other: Posting) {
        self.heap_pointers.extend(other.heap_pointers);
    }

    /// Drops the heap pointers at these positions.
    pub(super) fn remove(&mut self, positions: &[u16]) -> Result<(), RedoFailure> {
        let before = self.heap_pointers.len();
        let mut index = 0;
        self.heap_pointers.retain(|_| {
            let keep = positions.binary_search(&index).is_err();
            index += 1;
            keep
        });
        if self.heap_pointers.is_empty()
            || before - self.heap_pointers.len() != positions.len()
            || !positions.is_sorted_by(|a, b| a < b)
        {
            return Err(RedoFailure::BadRecord("deleted heap pointers do not fit the tuple"));
        }
        Ok(())
    }

    /// Puts the new tuple's heap pointer at `position`; the new tuple gets the last one.
    pub(super) fn swap(&mut self, new: &mut [u8], position: u16) -> Result<(), RedoFailure> {
        let position = usize::from(position);
        if position == 0 || position >= self.heap_pointers.len() {
            return Err(RedoFailure::BadRecord("posting list cannot be split there"));
        }
        let incoming = ItemPointer::read(new)?;
        let Some(outgoing) = self.heap_pointers.pop() else {
            return Err(RedoFailure::BadPage("posting list is empty"));
        };
        self.heap_pointers.insert(position, incoming);
        set_heap_pointer(new, outgoing)
    }

    /// The tuple's bytes, their length a multiple of 8.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, RedoFailure> {
        let key_size = self.key.len();
        let count = self.heap_pointers.len();
        let size = match count {
            1 => key_size,
            _ => max_align(key_size + count * ITEM_POINTER_BYTES),
        };
        if size > usize::from(SIZE_MASK) || count > usize::from(COUNT_MASK) {
            return Err(RedoFailure::BadRecord("posting tuple grows too large"));
        }
        let mut tuple = self.key.clone();
        let mut bits = info(&tuple)? & !SIZE_MASK & !ALTERNATIVE_TID | size as u16;
        let mut own = self.heap_pointers.first().copied();
        if count > 1 {
            bits |= ALTERNATIVE_TID;
            own = Some(ItemPointer { block: key_size as u32, offset: count as u16 | POSTING });
            for pointer in &self.heap_pointers {
                tuple.extend_from_slice(&pointer.to_bytes());
            }
        }
        let own = own.ok_or(RedoFailure::BadPage("posting list is empty"))?;
        set_heap_pointer(&mut tuple, own)?;
        tuple
            .get_mut(INFO_AT..HEADER_BYTES)
            .ok_or(RedoFailure::BadPage("an index tuple is cut short"))?
            .copy_from_slice(&bits.to_le_bytes());
        tuple.resize(size, 0);
        Ok(tuple)
    }
}

fn set_heap_pointer(tuple: &mut [u8], pointer: ItemPointer) -> Result<(), RedoFailure> {
    tuple
        .get_mut(..ITEM_POINTER_BYTES)
        .ok_or(RedoFailure::BadPage("an index tuple is cut short"))?
        .copy_from_slice(&pointer.to_bytes());
    Ok(())
}
