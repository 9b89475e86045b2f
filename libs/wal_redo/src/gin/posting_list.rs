//! Compressed lists of heap pointers: the first verbatim, then varbyte-encoded differences.

use crate::error::RedoFailure;
use crate::item_pointer::{ITEM_POINTER_BYTES, ItemPointer};

/// First pointer and length of the encoded bytes.
const SEGMENT_HEADER_BYTES: usize = 8;
/// Bits of a pointer's number that hold its offset.
const OFFSET_BITS: u32 = 11;
const MAX_ENCODED_BYTES: u32 = 7;

const BAD_SEGMENT: RedoFailure = RedoFailure::BadPage("a posting list segment is cut short");

/// The whole segment at the front of a slice, with its padding.
pub(super) fn split_segment(bytes: &[u8]) -> Result<(&[u8], &[u8]), RedoFailure> {
    let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(BAD_SEGMENT)?;
    let [.., low, high] = *header;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let size = SEGMENT_HEADER_BYTES + length.next_multiple_of(2);
    bytes.split_at_checked(size).ok_or(BAD_SEGMENT)
}

fn number(pointer: ItemPointer) -> u64 {
    u64::from(pointer.block) << OFFSET_BITS | u64::from(pointer.offset)
}

fn pointer(number: u64) -> Result<ItemPointer, RedoFailure> {
    let block = u32::try_from(number >> OFFSET_BITS).map_err(|_| BAD_SEGMENT)?;
    Ok(ItemPointer { block, offset: (number & ((1 << OFFSET_BITS) - 1)) as u16 })
}

/// The pointers of one segment.
pub(super) fn decode(segment: &[u8]) -> Result<Vec<ItemPointer>, RedoFailure> {
    let header = segment.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(BAD_SEGMENT)?;
    let [.., low, high] = *header;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let encoded = segment.get(SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + length);
    let mut encoded = encoded.ok_or(BAD_SEGMENT)?.iter().copied();
    let first = ItemPointer::read(segment)?;
    let mut pointers = vec![first];
    let mut value = number(first);
    while let Some(byte) = encoded.next() {
        let mut difference = u64::from(byte & 0x7F);
        let mut more = byte & 0x80 != 0;
        let mut shift = 7;
        while more {
            let byte = encoded.next().filter(|_| shift < 7 * MAX_ENCODED_BYTES);
            let byte = byte.ok_or(BAD_SEGMENT)?;
            difference |= u64::from(byte & 0x7F) << shift;
            more = byte & 0x80 != 0;
            shift += 7;
        }
        value = value.checked_add(difference).ok_or(BAD_SEGMENT)?;
        pointers.push(pointer(value)?);
    }
    Ok(pointers)
}

/// One segment with these pointers, which must ascend.
pub(super) fn encode(pointers: &[ItemPointer]) -> Result<Vec<u8>, RedoFailure> {
    let unordered = RedoFailure::BadRecord("posting list items are not in order");
    let (first, rest) = pointers.split_first().ok_or(BAD_SEGMENT)?;
    let mut encoded = Vec::new();
    let mut value = number(*first);
    for pointer in rest {
        let next = number(*pointer);
        let mut difference = match next.checked_sub(value) {
            None | Some(0) => return Err(unordered),
            Some(difference) => difference,
        };
        while difference > 0x7F {
            encoded.push(difference as u8 & 0x7F | 0x80);
            difference >>= 7;
        }
        encoded.push(difference as u8);
        value = next;
    }
    let length = u16::try_from(encoded.len()).map_err(|_| BAD_SEGMENT)?;
    let mut segment = first.to_bytes().to_vec();
    segment.extend_from_slice(&length.to_le_bytes());
    segment.append(&mut encoded);
    segment.resize(segment.len().next_multiple_of(2), 0);
    Ok(segment)
}

/// Uncompressed pointers, one after the other.
pub(super) fn parse_items(bytes: &[u8]) -> Vec<ItemPointer> {
    let chunks = bytes.as_chunks::<ITEM_POINTER_BYTES>().0;
    chunks.iter().map(|bytes| ItemPointer::from_bytes(*bytes)).collect()
}
