//! DELETE and VACUUM: whole tuples go, and single heap pointers out of posting tuples.

use postgres_ffi::PgMajor;

use super::tuple::Posting;
use super::{HAS_GARBAGE, change_flags, set_cycle_id};
use crate::error::RedoFailure;
use crate::page::Page;
use crate::target::Target;

pub(super) fn delete(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    let deleted = main.u16("deleted item count")?;
    let updated = main.u16("updated item count")?;
    remove(page, target, deleted, updated)
}

pub(super) fn vacuum(page: &mut Page, target: &Target) -> Result<(), RedoFailure> {
    let mut main = target.main_data();
    let deleted = main.u16("deleted item count")?;
    let updated = main.u16("updated item count")?;
    remove(page, target, deleted, updated)?;
    if target.major >= PgMajor::V18 {
        set_cycle_id(page, 0)?;
    }
    Ok(())
}

fn remove(page: &mut Page, target: &Target, deleted: u16, updated: u16) -> Result<(), RedoFailure> {
    let mut data = target.block_data();
    let deleted = data.u16_list(usize::from(deleted), "deleted items")?;
    let updated = data.u16_list(usize::from(updated), "updated items")?;
    for offset in updated {
        let count = data.u16("deleted pointer count")?;
        let positions = data.u16_list(usize::from(count), "deleted pointers")?;
        let (at, length) = page.stored_item(offset)?;
        let mut posting = Posting::parse_list(page.slice(at, length)?)?;
        posting.remove(&positions)?;
        page.overwrite_item(offset, &posting.to_bytes()?)?;
    }
    page.delete_index_items(&deleted)?;
    change_flags(page, 0, HAS_GARBAGE)
}
