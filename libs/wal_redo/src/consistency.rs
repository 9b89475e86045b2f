//! Comparison of redone pages with the check images of `wal_consistency_checking`.
//!
//! A server so configured attaches to each record the pages as they are after the change.
//! Some members are only hints and differ legitimately; PostgreSQL's mask functions
//! (`access/common/bufmask.c` and one per resource manager) blank them in both pages first.

use postgres_ffi::{BLCKSZ, BlockNumber};

use crate::error::RedoFailure;
use crate::page::Page;
use crate::rmgr;

mod checker;
mod mask;

pub use checker::{Checker, Counts, Mismatch};

/// Blanks what may differ in page `block` when a record of resource manager `rmid` changed it.
///
/// # Errors
/// When the page header or an item is malformed, or no check images exist for `rmid`.
pub fn mask(page: &mut [u8; BLCKSZ], block: BlockNumber, rmid: u8) -> Result<(), RedoFailure> {
    let mut page = Page::new(page);
    match rmid {
        rmgr::HEAP | rmgr::HEAP2 => mask::heap(&mut page, block),
        rmgr::BTREE => mask::btree(&mut page),
        rmgr::HASH => mask::hash(&mut page),
        rmgr::GIN => mask::gin(&mut page),
        rmgr::GIST => mask::gist(&mut page),
        rmgr::SPGIST => mask::spgist(&mut page),
        rmgr::BRIN => mask::brin(&mut page),
        rmgr::SEQUENCE | rmgr::GENERIC => mask::plain(&mut page),
        _ => Err(RedoFailure::Unsupported),
    }
}

/// The first byte at which two versions of page `block` differ once masked for `rmid`.
///
/// # Errors
/// As [`mask`].
pub fn first_difference(
    ours: &[u8; BLCKSZ],
    theirs: &[u8; BLCKSZ],
    block: BlockNumber,
    rmid: u8,
) -> Result<Option<usize>, RedoFailure> {
    let (mut ours, mut theirs) = (*ours, *theirs);
    mask(&mut ours, block, rmid)?;
    mask(&mut theirs, block, rmid)?;
    Ok(ours.iter().zip(&theirs).position(|(a, b)| a != b))
}
