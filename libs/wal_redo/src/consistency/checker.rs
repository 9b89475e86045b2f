//! Replays records one by one and compares every changed page with its check image.
//!
//! The caller feeds decoded records in order; pages are kept in memory. This is the oracle for
//! the whole engine: `examples/redo_check` runs it over a directory of WAL segments.

use std::collections::BTreeMap;
use std::fmt;

use postgres_ffi::page::{page_lsn, set_page_lsn};
use postgres_ffi::{BLCKSZ, BlockNumber, ForkNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_decoder::record::{BlockReference, DecodedRecord};

use super::first_difference;
use crate::rmgr::{self, resource_manager_name};
use crate::{Outcome, image, redo_record};

/// How often each kind of outcome was seen for one record type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records, with and without blocks.
    pub records: u64,
    /// Blocks that were redone and equal their check image.
    pub verified: u64,
    /// Blocks that were redone but have no check image.
    pub unverified: u64,
    /// Blocks restored from an image.
    pub restored: u64,
    /// Blocks whose earlier content is unknown, so that nothing could be redone.
    pub skipped: u64,
    /// Blocks that failed or differ.
    pub failed: u64,
}

/// A page that redo got wrong, or could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// End of the record.
    pub end_lsn: Lsn,
    /// Resource manager and info of the record.
    pub record: (u8, u8),
    /// Relation fork of the page.
    pub rel: RelTag,
    /// Number of the page.
    pub block: BlockNumber,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { end_lsn, record: (rmid, info), rel, block, problem } = self;
        let name = resource_manager_name(*rmid);
        write!(f, "{end_lsn} {name} {info:#04x} {rel} block {block}: {problem}")
    }
}

/// Replays records and keeps score.
#[derive(Debug)]
pub struct Checker {
    major: PgMajor,
    pages: BTreeMap<(RelTag, BlockNumber), Box<[u8; BLCKSZ]>>,
    counts: BTreeMap<(u8, u8), Counts>,
    mismatches: Vec<Mismatch>,
}

impl Checker {
    /// Starts without any page.
    pub fn new(major: PgMajor) -> Self {
        let (pages, counts) = (BTreeMap::new(), BTreeMap::new());
        Checker { major, pages, counts, mismatches: Vec::new() }
    }

    /// Replays one record, which ends at `end_lsn`.
    pub fn check(&mut self, record: &DecodedRecord, end_lsn: Lsn) {
        // Bit 0x02 announces check images; it does not belong to the record's type.
        let kind = (record.rmid, record.rmgr_info());
        self.counts.entry(kind).or_default().records += 1;
        for reference in &record.blocks {
            let mut counts = self.counts.get(&kind).copied().unwrap_or_default();
            match self.check_block(record, reference, end_lsn, &mut counts) {
                Ok(()) => {}
                Err(problem) => {
                    counts.failed += 1;
                    let (rel, block) = (reference.rel, reference.block);
                    self.mismatches.push(Mismatch { end_lsn, record: kind, rel, block, problem });
                    self.adopt_check_image(reference, end_lsn);
                }
            }
            self.counts.insert(kind, counts);
        }
    }

    fn check_block(
        &mut self,
        record: &DecodedRecord,
        reference: &BlockReference,
        end_lsn: Lsn,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let key = (reference.rel, reference.block);
        let rebuilt =
            reference.will_init || reference.image.as_ref().is_some_and(|image| image.apply);
        if !rebuilt && !self.pages.contains_key(&key) && !starts_from_nothing(record, reference) {
            counts.skipped += 1;
            self.adopt_check_image(reference, end_lsn);
            return Ok(());
        }
        let page = self.pages.entry(key).or_insert_with(|| Box::new([0; BLCKSZ]));
        let before = page.clone();
        let outcome =
            redo_record(page, reference.rel, reference.block, record, end_lsn, self.major)
                .map_err(|error| error.failure.to_string())?;
        match (outcome, &reference.image) {
            (Outcome::Restored, _) => counts.restored += 1,
            (Outcome::Applied, Some(image)) => {
                let expected = image::restore(image).map_err(|error| error.to_string())?;
                compare(page, &before, &expected, reference, record.rmid)?;
                counts.verified += 1;
            }
            (Outcome::Applied, None) => counts.unverified += 1,
            (Outcome::AlreadyApplied | Outcome::MissingPage | Outcome::Unrelated, _) => {
                return Err(format!("unexpected outcome {outcome:?}, page at {}", page_lsn(page)));
            }
        }
        Ok(())
    }

    /// Goes on from what the primary had, when our own page is missing or wrong.
    fn adopt_check_image(&mut self, reference: &BlockReference, end_lsn: Lsn) {
        let key = (reference.rel, reference.block);
        match reference.image.as_ref().map(image::restore) {
            Some(Ok(mut page)) => {
                set_page_lsn(&mut page, end_lsn);
                self.pages.insert(key, page);
            }
            Some(Err(_)) | None => {
                self.pages.remove(&key);
            }
        }
    }

    /// Counts per resource manager and info.
    pub fn counts(&self) -> &BTreeMap<(u8, u8), Counts> {
        &self.counts
    }

    /// Everything that went wrong.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// A table of the counts, one record type a line.
    pub fn coverage(&self) -> String {
        let mut table = format!(
            "{:<18} {:>5} {:>9} {:>9} {:>10} {:>9} {:>8} {:>7}\n",
            "rmgr", "info", "records", "verified", "unverified", "restored", "skipped", "failed"
        );
        for ((rmid, info), c) in &self.counts {
            table += &format!(
                "{:<18} {:>#5x} {:>9} {:>9} {:>10} {:>9} {:>8} {:>7}\n",
                resource_manager_name(*rmid),
                info,
                c.records,
                c.verified,
                c.unverified,
                c.restored,
                c.skipped,
                c.failed
            );
        }
        table
    }
}

/// Whether the record makes this page without saying so in the reference.
fn starts_from_nothing(record: &DecodedRecord, reference: &BlockReference) -> bool {
    record.rmid == rmgr::HEAP2
        && record.rmgr_info() & 0x70 == 0x40
        && reference.rel.fork == ForkNumber::VisibilityMap
}

fn compare(
    ours: &[u8; BLCKSZ],
    before: &[u8; BLCKSZ],
    expected: &[u8; BLCKSZ],
    reference: &BlockReference,
    rmid: u8,
) -> Result<(), String> {
    let difference = first_difference(ours, expected, reference.block, rmid)
        .map_err(|error| format!("cannot be masked: {error}"))?;
    let Some(at) = difference else { return Ok(()) };
    let window = |page: &[u8; BLCKSZ]| {
        let bytes = page.get(at..(at + 16).min(BLCKSZ)).unwrap_or_default();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (ours, before, expected) = (window(ours), window(before), window(expected));
    Err(format!("differs at byte {at}: ours {ours}, expected {expected}, before {before}"))
}
