//! Resource managers HEAP and HEAP2: table pages and their visibility maps.
//!
//! Facts: PostgreSQL's `heapam.c`, `pruneheap.c` and `heapam_xlog.h`. Command ids are not in
//! the log of an unmodified server; redo stores 0, as the server's own redo does.

use postgres_ffi::{ForkNumber, PgMajor};

use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::{Stamp, Target};

mod change;
mod freeze;
mod insert;
mod prune;
pub(crate) mod tuple;
mod update;
pub(crate) mod visibility;

const OPERATION_MASK: u8 = 0x70;
/// The action begins with an empty page.
const INIT_PAGE: u8 = 0x80;

const INSERT: u8 = 0x00;
const DELETE: u8 = 0x10;
const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const CONFIRM: u8 = 0x50;
const LOCK: u8 = 0x60;
const INPLACE: u8 = 0x70;

const REWRITE: u8 = 0x00;
const PRUNE: u8 = 0x10;
const VACUUM: u8 = 0x20;
const FREEZE_PAGE: u8 = 0x30;
const VISIBLE: u8 = 0x40;
const MULTI_INSERT: u8 = 0x50;
const LOCK_UPDATED: u8 = 0x60;
const NEW_CID: u8 = 0x70;

/// Applies a HEAP record.
pub(crate) fn redo_heap(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let operation = target.record.info & OPERATION_MASK;
    if target.reference.rel.fork == ForkNumber::VisibilityMap {
        return match operation {
            INSERT | DELETE => visibility::clear_for_change(page, target),
            UPDATE | HOT_UPDATE => visibility::clear_for_update(page, target),
            LOCK => visibility::clear_for_lock(page, target),
            _ => target.unexpected(),
        };
    }
    match (operation, target.reference.id) {
        (INSERT, 0) => insert::insert(page, target),
        (DELETE, 0) => change::delete(page, target),
        (UPDATE, 0 | 1) => update::update(page, target, update::Kind::Ordinary),
        (HOT_UPDATE, 0) => update::update(page, target, update::Kind::Hot),
        (CONFIRM, 0) => change::confirm(page, target),
        (LOCK, 0) => change::lock(page, target),
        (INPLACE, 0) => change::inplace(page, target),
        (INSERT..=INPLACE, _) => target.unexpected(),
        _ => Err(RedoFailure::Unsupported),
    }
}

/// Applies a HEAP2 record.
pub(crate) fn redo_heap2(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let operation = target.record.info & OPERATION_MASK;
    match (operation, target.reference.id) {
        (PRUNE | VACUUM | FREEZE_PAGE, 0) => redo_prune_family(page, target, operation),
        (VISIBLE, 0) => visibility::set(page, target),
        (VISIBLE, 1) => visibility::mark_heap_page(page),
        (MULTI_INSERT, 0) => insert::multi_insert(page, target),
        (LOCK_UPDATED, 0) => change::lock_updated(page, target),
        (MULTI_INSERT, 1) if is_visibility_map(target) => {
            visibility::clear_for_change(page, target)
        }
        (LOCK_UPDATED, 1) if is_visibility_map(target) => visibility::clear_for_lock(page, target),
        (REWRITE..=NEW_CID, _) => target.unexpected(),
        _ => Err(RedoFailure::Unsupported),
    }
}

/// The three operations that PostgreSQL 17 turned into one with three reasons.
fn redo_prune_family(
    page: &mut Page,
    target: &Target,
    operation: u8,
) -> Result<Stamp, RedoFailure> {
    match (target.major, operation) {
        (PgMajor::V17 | PgMajor::V18, _) => prune::prune_and_freeze(page, target),
        (PgMajor::V15 | PgMajor::V16, PRUNE) => prune::prune(page, target),
        (PgMajor::V15 | PgMajor::V16, VACUUM) => prune::vacuum(page, target),
        (PgMajor::V15, _) => freeze::freeze_each(page, target),
        (PgMajor::V16, _) => freeze::freeze_by_plans(page, target),
    }
}

fn is_visibility_map(target: &Target) -> bool {
    target.reference.rel.fork == ForkNumber::VisibilityMap
}

/// Makes the page empty if the record says that it starts with an empty page.
fn init_if_asked(page: &mut Page, target: &Target) -> Result<bool, RedoFailure> {
    let asked = target.record.info & INIT_PAGE != 0;
    if asked {
        page.init(0)?;
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
