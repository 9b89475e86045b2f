//! The one thing that GIN, GiST and hash redo need from an index tuple: where it ends.

use crate::error::RedoFailure;
use crate::page::Page;
use crate::reader::Reader;

const HEADER_BYTES: usize = 8;
const INFO_AT: usize = 6;
const SIZE_MASK: u16 = 0x1FFF;

/// The tuple at the front of a slice, as long as its header says.
pub(crate) fn first_tuple(bytes: &[u8]) -> Result<&[u8], RedoFailure> {
    let mut header = Reader::new(bytes);
    header.skip(INFO_AT, "index tuple header")?;
    let size = usize::from(header.u16("index tuple header")? & SIZE_MASK);
    let tuple = bytes.get(..size).filter(|_| size >= HEADER_BYTES);
    tuple.ok_or(RedoFailure::BadRecord("an index tuple is cut short"))
}

/// Adds the tuples that fill `bytes` after the last item of the page; returns their number.
pub(crate) fn append_tuples(page: &mut Page, bytes: &[u8]) -> Result<u32, RedoFailure> {
    let mut rest = bytes;
    let mut count = 0;
    while !rest.is_empty() {
        let tuple = first_tuple(rest)?;
        page.insert_item(page.max_offset()? + 1, tuple)?;
        rest = rest.get(tuple.len()..).unwrap_or_default();
        count += 1;
    }
    Ok(count)
}
