//! Resource manager GENERIC: byte ranges to copy, used by extensions.

use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::{Stamp, Target};

/// Applies a GENERIC record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut data = target.block_data();
    while data.remaining() > 0 {
        let at = data.u16("fragment offset")?;
        let length = data.u16("fragment length")?;
        let bytes = data.take(usize::from(length), "fragment")?;
        page.put(usize::from(at), bytes)?;
    }
    // The differences were computed against a page without anything in its hole.
    let bounds = page.bounds()?;
    page.slice_mut(bounds.lower, bounds.upper - bounds.lower)?.fill(0);
    Ok(Stamp::EndLsn)
}
