//! Resource manager SEQ: a sequence is one page with one tuple, logged whole.

use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::{Stamp, Target};

const LOG: u8 = 0x00;
const MAGIC: u32 = 0x1717;
const SPECIAL_BYTES: usize = 4;

/// Applies a SEQ record.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    if target.record.rmgr_info() != LOG {
        return Err(RedoFailure::Unsupported);
    }
    if target.reference.id != 0 {
        return target.unexpected();
    }
    let mut main = target.main_data();
    main.skip(12, "sequence identity")?;
    page.init(SPECIAL_BYTES)?;
    let special = page.bounds()?.special;
    page.set_u32(special, MAGIC)?;
    page.insert_item(1, main.rest())?;
    Ok(Stamp::EndLsn)
}
