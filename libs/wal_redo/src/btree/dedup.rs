//! Deduplication: runs of tuples with equal keys become posting tuples.

use postgres_ffi::BLCKSZ;

use super::split::{append, fresh_copy};
use super::tuple::{self, Posting};
use super::{HAS_GARBAGE, change_flags, first_data_key};
use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::Target;

/// A run of items that becomes one posting tuple.
struct Interval {
    base_offset: u16,
    items: u16,
}

/// Items being merged.
struct Pending {
    base_offset: u16,
    /// The first item as it was, for the case that nothing joins it.
    base: Vec<u8>,
    posting: Posting,
    items: u16,
}

impl Pending {
    fn open(page: &Page, offset: u16) -> Result<Self, RedoFailure> {
        let base = item(page, offset)?;
        let posting = Posting::parse(&base)?;
        Ok(Pending { base_offset: offset, base, posting, items: 1 })
    }

    fn finish(self, fresh: &mut Page) -> Result<(), RedoFailure> {
        if self.items == 1 {
            append(fresh, &self.base)
        } else {
            append(fresh, &self.posting.to_bytes()?)
        }
    }
}

/// An item's bytes, as long as its own header says.
fn item(page: &Page, offset: u16) -> Result<Vec<u8>, RedoFailure> {
    let (at, length) = page.stored_item(offset)?;
    let size = tuple::size(page.slice(at, length)?)?;
    Ok(page.slice(at, size)?.to_vec())
}

fn read_intervals(target: &Target) -> Result<Vec<Interval>, RedoFailure> {
    let count = target.main_data().u16("interval count")?;
    let mut data = target.block_data();
    let mut intervals = Vec::new();
    for _ in 0..count {
        let base_offset = data.u16("interval base")?;
        let items = data.u16("interval length")?;
        intervals.push(Interval { base_offset, items });
    }
    Ok(intervals)
}

pub(super) fn dedup(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let intervals = read_intervals(target)?;
    let mut bytes = [0; BLCKSZ];
    let mut fresh = fresh_copy(page, &mut bytes)?;
    let first = first_data_key(page)?;
    if first == 2 {
        let (at, length) = page.stored_item(1)?;
        append(&mut fresh, page.slice(at, length)?)?;
    }
    let mut remaining = intervals.iter().peekable();
    let mut pending = Pending::open(page, first)?;
    for offset in first + 1..=page.max_offset()? {
        let joins = remaining
            .peek()
            .is_some_and(|i| i.base_offset == pending.base_offset && pending.items < i.items);
        if joins {
            pending.posting.absorb(Posting::parse(&item(page, offset)?)?);
            pending.items += 1;
            continue;
        }
        if pending.items > 1 {
            remaining.next();
        }
        std::mem::replace(&mut pending, Pending::open(page, offset)?).finish(&mut fresh)?;
    }
    if pending.items > 1 {
        remaining.next();
    }
    pending.finish(&mut fresh)?;
    if remaining.next().is_some() {
        return Err(RedoFailure::BadRecord("an interval matches no run of items"));
    }
    change_flags(&mut fresh, 0, HAS_GARBAGE)?;
    *page.bytes_mut() = bytes;
    Ok(())
}
