//! The table of resource managers: their numbers, names and redo functions.

use postgres_ffi::ForkNumber;

use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::{Stamp, Target};
use crate::{brin, btree, generic, gin, gist, hash, heap, sequence, spgist};

pub(crate) const XLOG: u8 = 0;
pub(crate) const HEAP2: u8 = 9;
pub(crate) const HEAP: u8 = 10;
pub(crate) const BTREE: u8 = 11;
pub(crate) const HASH: u8 = 12;
pub(crate) const GIN: u8 = 13;
pub(crate) const GIST: u8 = 14;
pub(crate) const SEQUENCE: u8 = 15;
pub(crate) const SPGIST: u8 = 16;
pub(crate) const BRIN: u8 = 17;
pub(crate) const GENERIC: u8 = 20;

const XLOG_FPI_FOR_HINT: u8 = 0xA0;
const HEAP2_VISIBLE: u8 = 0x40;

const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

/// A resource manager's name, as `pg_waldump` writes it.
pub fn resource_manager_name(rmid: u8) -> &'static str {
    NAMES.get(usize::from(rmid)).copied().unwrap_or("custom")
}

/// Runs the action of the target's resource manager.
pub(crate) fn redo(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    match target.record.rmid {
        XLOG => redo_xlog(target),
        HEAP2 => heap::redo_heap2(page, target),
        HEAP => heap::redo_heap(page, target),
        BTREE => btree::redo(page, target),
        HASH => hash::redo(page, target),
        GIN => gin::redo(page, target),
        GIST => gist::redo(page, target),
        SEQUENCE => sequence::redo(page, target),
        SPGIST => spgist::redo(page, target),
        BRIN => brin::redo(page, target),
        GENERIC => generic::redo(page, target),
        _ => Err(RedoFailure::Unsupported),
    }
}

/// What some actions do even to a page that was just restored from its image.
pub(crate) fn after_restore(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    match target.record.rmid {
        HASH => hash::after_restore(page, target),
        GIST => gist::after_restore(page, target),
        _ => Ok(()),
    }
}

/// XLOG records change a page only through images, which were looked for before.
fn redo_xlog(target: &Target) -> Result<Stamp, RedoFailure> {
    match target.record.rmgr_info() {
        XLOG_FPI_FOR_HINT => Ok(Stamp::Keep),
        _ => Err(RedoFailure::Unsupported),
    }
}

/// The one action that makes a page out of nothing without saying so: the visibility map page
/// of a VISIBLE record.
pub(crate) fn initialises_missing_page(target: &Target) -> bool {
    target.record.rmid == HEAP2
        && target.record.info & 0x70 == HEAP2_VISIBLE
        && target.reference.rel.fork == ForkNumber::VisibilityMap
}
