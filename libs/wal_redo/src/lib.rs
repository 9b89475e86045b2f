//! Native redo: applies PostgreSQL WAL records to one page at a time, with the same result as
//! the server's own recovery.
//!
//! Pure functions over bytes: no I/O, no async, no clock, no state. Every record and page is
//! foreign input; whatever they hold, the outcome is a page or a typed error, never a panic
//! and never a write outside the page. One module per resource manager.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use postgres_ffi::{BLCKSZ, BlockNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::DecodedRecord;

mod brin;
mod btree;
mod commit_ts;
pub mod consistency;
mod error;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
pub mod image;
mod index_tuple;
mod item_pointer;
mod page;
mod reader;
mod rmgr;
mod sequence;
mod spgist;
mod target;

pub use commit_ts::set_commit_timestamps;
pub use error::{RedoError, RedoFailure};
pub use rmgr::resource_manager_name;

use page::Page;
use target::{Stamp, Target};

/// What applying a record did to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page was rebuilt from an image in the record.
    Restored,
    /// The record's change was made.
    Applied,
    /// The page already has the change: its LSN is not older than the record.
    AlreadyApplied,
    /// There is no page to change (it is all zeroes), as for a relation dropped later.
    MissingPage,
    /// The record does not change this block.
    Unrelated,
}

/// Applies `record`, which ends at `end_lsn`, to `page`, block `block` of `rel`.
///
/// The record's changes to other blocks are ignored. On error the page's content is
/// unspecified, and the caller must not use it.
pub fn redo_record(
    page: &mut [u8; BLCKSZ],
    rel: RelTag,
    block: BlockNumber,
    record: &DecodedRecord,
    end_lsn: Lsn,
    major: PgMajor,
) -> Result<Outcome, RedoError> {
    let mut outcome = Outcome::Unrelated;
    for reference in record.blocks.iter().filter(|r| r.rel == rel && r.block == block) {
        let target = Target { record, reference, end_lsn, major };
        outcome = redo_reference(&mut Page::new(page), &target).map_err(|failure| RedoError {
            resource_manager: resource_manager_name(record.rmid),
            info: record.info,
            end_lsn,
            rel,
            block,
            failure,
        })?;
    }
    Ok(outcome)
}

/// The common procedure around every resource manager's action.
fn redo_reference(page: &mut Page, target: &Target) -> Result<Outcome, RedoFailure> {
    let reference = target.reference;
    if let Some(image) = reference.image.as_ref().filter(|image| image.apply) {
        image::restore_into(image, page.bytes_mut())?;
        if !page.is_new() {
            page.set_lsn(target.end_lsn)?;
            rmgr::after_restore(page, target)?;
        }
        return Ok(Outcome::Restored);
    }
    if !reference.will_init {
        if page.is_new() && !rmgr::initialises_missing_page(target) {
            return Ok(Outcome::MissingPage);
        }
        if target.end_lsn <= page.lsn()? {
            return Ok(Outcome::AlreadyApplied);
        }
    }
    match rmgr::redo(page, target)? {
        Stamp::EndLsn => page.set_lsn(target.end_lsn)?,
        Stamp::Keep => {}
    }
    Ok(Outcome::Applied)
}

/// Clears visibility map bits of heap block `heap_block` on the map page that holds them:
/// bit 0x01 is all-visible, 0x02 all-frozen. An uninitialised map page has none set.
/// Returns whether a bit was set before. The page's LSN is the caller's to set.
pub fn clear_visibility_map_bits(
    page: &mut [u8; BLCKSZ],
    heap_block: BlockNumber,
    bits: u8,
) -> Result<bool, RedoFailure> {
    heap::visibility::clear_bits(&mut Page::new(page), heap_block, bits)
}
