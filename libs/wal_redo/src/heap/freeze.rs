//! Freezing of tuples: per tuple (15), by plans (16), or as a part of pruning (17 and later).

use super::tuple::HeapTuple;
use crate::error::RedoFailure;
use crate::page::Page;
use crate::reader::Reader;
use crate::target::{Stamp, Target};

const FREEZE_XVAC: u8 = 0x02;
const INVALIDATE_XVAC: u8 = 0x04;
/// The transaction id that is older than all others.
const FROZEN_XID: u32 = 2;

/// What becomes of the header of a frozen tuple.
struct Frozen {
    xmax: u32,
    infomask2: u16,
    infomask: u16,
    flags: u8,
}

impl Frozen {
    fn apply(&self, page: &mut Page, offset: u16) -> Result<(), RedoFailure> {
        let tuple = HeapTuple::find(page, offset)?;
        tuple.set_xmax(page, self.xmax)?;
        if self.flags & FREEZE_XVAC != 0 {
            tuple.set_xvac(page, FROZEN_XID)?;
        }
        if self.flags & INVALIDATE_XVAC != 0 {
            tuple.set_xvac(page, 0)?;
        }
        tuple.set_infomask(page, self.infomask)?;
        tuple.set_infomask2(page, self.infomask2)
    }
}

/// FREEZE_PAGE of PostgreSQL 15: one entry per tuple.
pub(super) fn freeze_each(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "cutoff transaction")?;
    let count = main.u16("tuple count")?;
    let mut data = target.block_data();
    for _ in 0..count {
        let xmax = data.u32("frozen xmax")?;
        let offset = data.u16("tuple number")?;
        let infomask2 = data.u16("frozen infomask2")?;
        let infomask = data.u16("frozen infomask")?;
        let flags = data.u8("freeze flags")?;
        data.align(4);
        Frozen { xmax, infomask2, infomask, flags }.apply(page, offset)?;
    }
    Ok(Stamp::EndLsn)
}

/// FREEZE_PAGE of PostgreSQL 16: plans, then the tuples of each plan.
pub(super) fn freeze_by_plans(page: &mut Page, target: &Target) -> Result<Stamp, RedoFailure> {
    let mut main = target.main_data();
    main.skip(4, "conflict horizon")?;
    let count = main.u16("plan count")?;
    let mut data = target.block_data();
    let plans = FreezePlans::read(&mut data, count)?;
    plans.apply(page, &mut data)?;
    Ok(Stamp::EndLsn)
}

/// Plans and the number of tuples that each is for.
pub(super) struct FreezePlans(Vec<(Frozen, u16)>);

impl FreezePlans {
    /// Reads `count` plans of 12 bytes.
    pub(super) fn read(data: &mut Reader, count: u16) -> Result<Self, RedoFailure> {
        let mut plans = Vec::new();
        for _ in 0..count {
            let xmax = data.u32("frozen xmax")?;
            let infomask2 = data.u16("frozen infomask2")?;
            let infomask = data.u16("frozen infomask")?;
            let flags = data.u8("freeze flags")?;
            data.skip(1, "plan padding")?;
            let tuples = data.u16("tuples in plan")?;
            plans.push((Frozen { xmax, infomask2, infomask, flags }, tuples));
        }
        Ok(FreezePlans(plans))
    }

    /// Reads the tuple numbers of every plan and freezes those tuples.
    pub(super) fn apply(&self, page: &mut Page, offsets: &mut Reader) -> Result<(), RedoFailure> {
        for (frozen, tuples) in &self.0 {
            for _ in 0..*tuples {
                frozen.apply(page, offsets.u16("frozen tuple number")?)?;
            }
        }
        Ok(())
    }
}
