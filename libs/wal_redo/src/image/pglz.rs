//! Decompression of PostgreSQL's own LZ format, without its length words.
//!
//! A control byte announces eight items, lowest bit first: 0 is a literal byte, 1 a match of
//! two or three bytes (length and distance). Facts: `common/pg_lzcompress.c`.

/// A match of this length is followed by a byte that prolongs it.
const EXTENDED_LENGTH: usize = 18;

/// Fills `target` from `source`. Returns the number of bytes written, or `None` when the
/// source is malformed or not used up.
pub(super) fn decompress(source: &[u8], target: &mut [u8]) -> Option<usize> {
    let mut input = source.iter().copied();
    let mut written = 0;
    while written < target.len() {
        let Some(control) = input.next() else { break };
        for bit in 0..8 {
            if written == target.len() {
                break;
            }
            if control >> bit & 1 == 0 {
                // The last control byte may announce more items than there are.
                let Some(literal) = input.next() else { break };
                *target.get_mut(written)? = literal;
                written += 1;
            } else {
                written += copy_match(&mut input, target, written)?;
            }
        }
    }
    input.next().is_none().then_some(written)
}

/// Copies one match to `written`; returns its length after clipping.
fn copy_match(
    input: &mut impl Iterator<Item = u8>,
    target: &mut [u8],
    written: usize,
) -> Option<usize> {
    let (first, second) = (usize::from(input.next()?), usize::from(input.next()?));
    let mut length = (first & 0x0F) + 3;
    let distance = (first & 0xF0) << 4 | second;
    if length == EXTENDED_LENGTH {
        length += usize::from(input.next()?);
    }
    if distance == 0 || distance > written {
        return None;
    }
    let length = length.min(target.len() - written);
    // Source and target may overlap: each byte must be written before it is read again.
    for at in written..written + length {
        let byte = *target.get(at - distance)?;
        *target.get_mut(at)? = byte;
    }
    Some(length)
}
