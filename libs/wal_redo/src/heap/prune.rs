//! Pruning and vacuuming: line pointers are redirected, killed or freed, then the page is
//! tidied up.

use postgres_ffi::PgMajor;

use super::freeze::FreezePlans;
use crate::error::RedoFailure;
use crate::page::{ItemState, LinePointer, Page};
use crate::reader::Reader;
use crate::target::{Stamp, Target};

const CLEANUP_LOCK: u8 = 0x04;
const HAS_CONFLICT_HORIZON: u8 = 0x08;
const HAS_FREEZE_PLANS: u8 = 0x10;
const HAS_REDIRECTIONS: u8 = 0x20;
const HAS_DEAD_ITEMS: u8 = 0x40;
const HAS_NOW_UNUSED_ITEMS: u8 = 0x80;

/// Flat pairs (from, to) of redirections, then the numbers that die or become free.
#[derive(Default)]
struct LineChanges {
    redirected: Vec<u16>,
    dead: Vec<u16>,
    unused: Vec<u16>,
}

impl LineChanges {
    fn is_empty(&self) -> bool {
        self.redirected.is_empty() && self.dead.is_empty() && self.unused.is_empty()
    }

    fn apply(&self, page: &mut Page) -> Result<(), RedoFailure> {
        for [from, to] in self.redirected.as_chunks::<2>().0 {
            let pointer = LinePointer { at: *to, state: ItemState::Redirect, length: 0 };
            page.set_line_pointer(*from, pointer)?;
        }
        for offset in &self.dead {
            page.set_line_pointer(*offset, LinePointer::DEAD)?;
        }
        for offset in &self.unused {
            page.set_line_pointer(*offset, LinePointer::UNUSED)?;
        }
        Ok(())
    }
}

/// PRUNE of PostgreSQL 15 and 16.
pub(super) fn prune(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    let redirections = main.u16("redirection count")?;
    let dead = main.u16("dead item count")?;
    let mut data = target.block_data();
    let redirected = data.u16_list(usize::from(redirections) * 2, "redirections")?;
    let dead = data.u16_list(usize::from(dead), "dead items")?;
    let unused = data.u16_list(data.remaining() / 2, "unused items")?;
    data.finish()?;
    LineChanges { redirected, dead, unused }.apply(page)?;
    page.repair_fragmentation()?;
    Ok(Stamp::EndLsn)
}

/// VACUUM of PostgreSQL 15 and 16.
pub(super) fn vacuum(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let count = target.main_data().u16("unused item count")?;
    let unused = target.block_data().u16_list(usize::from(count), "unused items")?;
    LineChanges { unused, ..LineChanges::default() }.apply(page)?;
    page.truncate_line_pointers()?;
    Ok(Stamp::EndLsn)
}

/// PRUNE_ON_ACCESS, PRUNE_VACUUM_SCAN and PRUNE_VACUUM_CLEANUP of PostgreSQL 17 and later.
pub(super) fn prune_and_freeze(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    debug_assert!(target.major >= PgMajor::V17, "earlier versions log another format");
    let mut main = target.main_data();
    main.skip(1, "prune reason")?;
    let flags = main.u8("prune flags")?;
    if flags & HAS_CONFLICT_HORIZON != 0 {
        main.skip(4, "conflict horizon")?;
    }
    let mut data = target.block_data();
    let mut plans = None;
    if flags & HAS_FREEZE_PLANS != 0 {
        let count = data.u16("plan count")?;
        data.skip(2, "plan padding")?;
        plans = Some(FreezePlans::read(&mut data, count)?);
    }
    let changes = LineChanges {
        redirected: sub_record(&mut data, flags & HAS_REDIRECTIONS, 2)?,
        dead: sub_record(&mut data, flags & HAS_DEAD_ITEMS, 1)?,
        unused: sub_record(&mut data, flags & HAS_NOW_UNUSED_ITEMS, 1)?,
    };
    if !changes.is_empty() {
        changes.apply(page)?;
        if flags & CLEANUP_LOCK != 0 {
            page.repair_fragmentation()?;
        } else {
            page.truncate_line_pointers()?;
        }
    }
    if let Some(plans) = plans {
        plans.apply(page, &mut data)?;
    }
    data.finish()?;
    Ok(Stamp::EndLsn)
}

/// A counted list of groups of `group` numbers, there only if its flag is set.
fn sub_record(data: &mut Reader, flag: u8, group: usize) -> Result<Vec<u16>, RedoFailure> {
    if flag == 0 {
        return Ok(Vec::new());
    }
    let count = data.u16("item count")?;
    data.u16_list(usize::from(count) * group, "items")
}
