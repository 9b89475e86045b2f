//! Every type of record that PostgreSQL 15 to 18 can log, and the coverage table.
//!
//! Names are those of PostgreSQL's sources (`access/rmgrdesc` and the `*_xlog.h` files).

use std::collections::BTreeMap;
use std::fmt::Write;

use postgres_ffi::PgMajor;
use postgres_ffi::PgMajor::{V15, V16, V17, V18};
use wal_redo::consistency::Counts;
use wal_redo::resource_manager_name;

/// Whether the workload reaches a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It must.
    Always,
    /// It may, depending on timing or on more work than a short run does; why.
    Sometimes(&'static str),
    /// It cannot; why.
    Never(&'static str),
}
use Reached::{Always, Never, Sometimes};

/// A type of record in the versions `first` to `last`.
#[derive(Clone, Copy, Debug)]
pub struct RecordType {
    pub rmid: u8,
    pub operation: u8,
    pub name: &'static str,
    pub first: PgMajor,
    pub last: PgMajor,
    pub reached: Reached,
}

const SHORT_RUN: &str = "needs a removable segment of pg_xact, that is a million transactions";
const PROMOTION: &str =
    "written after a promotion or with recovery targets, which begin a new timeline";
const PARTIAL: &str = "needs a crash in the middle of a record that spans pages";
const UNWRITTEN: &str = "no code of the server writes it";
const MINIMAL: &str =
    "written only under wal_level = minimal, which cannot be archived or streamed";
const RACE: &str = "depends on when sessions meet";
const SLOT: &str = "depends on what transactions run when a catalog is rewritten";
const REWRITTEN: &str = "depends on which pages concurrent scans left behind";

const fn all(rmid: u8, operation: u8, name: &'static str, reached: Reached) -> RecordType {
    RecordType { rmid, operation, name, first: V15, last: V18, reached }
}

const fn some(
    rmid: u8,
    operation: u8,
    name: &'static str,
    (first, last): (PgMajor, PgMajor),
) -> RecordType {
    RecordType { rmid, operation, name, first, last, reached: Always }
}

/// All of them.
pub const CATALOG: &[RecordType] = &[
    all(0, 0x00, "CHECKPOINT_SHUTDOWN", Always),
    all(0, 0x10, "CHECKPOINT_ONLINE", Always),
    all(0, 0x20, "NOOP", Never(UNWRITTEN)),
    all(0, 0x30, "NEXTOID", Always),
    all(0, 0x40, "SWITCH", Always),
    all(0, 0x50, "BACKUP_END", Always),
    all(0, 0x60, "PARAMETER_CHANGE", Always),
    all(0, 0x70, "RESTORE_POINT", Always),
    all(0, 0x80, "FPW_CHANGE", Always),
    all(0, 0x90, "END_OF_RECOVERY", Never(PROMOTION)),
    all(0, 0xA0, "FPI_FOR_HINT", Always),
    all(0, 0xB0, "FPI", Always),
    all(0, 0xD0, "OVERWRITE_CONTRECORD", Sometimes(PARTIAL)),
    RecordType { first: V17, ..all(0, 0xE0, "CHECKPOINT_REDO", Always) },
    all(1, 0x00, "COMMIT", Always),
    all(1, 0x10, "PREPARE", Always),
    all(1, 0x20, "ABORT", Always),
    all(1, 0x30, "COMMIT_PREPARED", Always),
    all(1, 0x40, "ABORT_PREPARED", Always),
    all(1, 0x50, "ASSIGNMENT", Always),
    all(1, 0x60, "INVALIDATION", Always),
    all(2, 0x10, "CREATE", Always),
    all(2, 0x20, "TRUNCATE", Always),
    all(3, 0x00, "ZEROPAGE", Always),
    all(3, 0x10, "TRUNCATE", Sometimes(SHORT_RUN)),
    all(4, 0x00, "CREATE_FILE_COPY", Always),
    all(4, 0x10, "CREATE_WAL_LOG", Always),
    all(4, 0x20, "DROP", Always),
    all(5, 0x00, "CREATE", Always),
    all(5, 0x10, "DROP", Always),
    all(6, 0x00, "ZERO_OFF_PAGE", Always),
    all(6, 0x10, "ZERO_MEM_PAGE", Always),
    all(6, 0x20, "CREATE_ID", Always),
    all(6, 0x30, "TRUNCATE_ID", Always),
    all(7, 0x00, "UPDATE", Always),
    all(8, 0x00, "LOCK", Always),
    all(8, 0x10, "RUNNING_XACTS", Always),
    all(8, 0x20, "INVALIDATIONS", Always),
    all(9, 0x00, "REWRITE", Sometimes(SLOT)),
    some(9, 0x10, "PRUNE", (V15, V16)),
    some(9, 0x20, "VACUUM", (V15, V16)),
    some(9, 0x30, "FREEZE_PAGE", (V15, V16)),
    some(9, 0x10, "PRUNE_ON_ACCESS", (V17, V18)),
    some(9, 0x20, "PRUNE_VACUUM_SCAN", (V17, V18)),
    some(9, 0x30, "PRUNE_VACUUM_CLEANUP", (V17, V18)),
    all(9, 0x40, "VISIBLE", Always),
    all(9, 0x50, "MULTI_INSERT", Always),
    all(9, 0x60, "LOCK_UPDATED", Sometimes(RACE)),
    all(9, 0x70, "NEW_CID", Always),
    all(10, 0x00, "INSERT", Always),
    all(10, 0x10, "DELETE", Always),
    all(10, 0x20, "UPDATE", Always),
    all(10, 0x30, "TRUNCATE", Always),
    all(10, 0x40, "HOT_UPDATE", Always),
    all(10, 0x50, "CONFIRM", Always),
    all(10, 0x60, "LOCK", Always),
    all(10, 0x70, "INPLACE", Always),
    all(11, 0x00, "INSERT_LEAF", Always),
    all(11, 0x10, "INSERT_UPPER", Always),
    all(11, 0x20, "INSERT_META", Always),
    all(11, 0x30, "SPLIT_L", Always),
    all(11, 0x40, "SPLIT_R", Always),
    all(11, 0x50, "INSERT_POST", Always),
    all(11, 0x60, "DEDUP", Always),
    all(11, 0x70, "DELETE", Always),
    all(11, 0x80, "UNLINK_PAGE", Always),
    all(11, 0x90, "UNLINK_PAGE_META", Always),
    all(11, 0xA0, "NEWROOT", Always),
    all(11, 0xB0, "MARK_PAGE_HALFDEAD", Always),
    all(11, 0xC0, "VACUUM", Always),
    all(11, 0xD0, "REUSE_PAGE", Always),
    all(11, 0xE0, "META_CLEANUP", Always),
    all(12, 0x00, "INIT_META_PAGE", Always),
    all(12, 0x10, "INIT_BITMAP_PAGE", Always),
    all(12, 0x20, "INSERT", Always),
    all(12, 0x30, "ADD_OVFL_PAGE", Always),
    all(12, 0x40, "SPLIT_ALLOCATE_PAGE", Always),
    all(12, 0x50, "SPLIT_PAGE", Always),
    all(12, 0x60, "SPLIT_COMPLETE", Always),
    all(12, 0x70, "MOVE_PAGE_CONTENTS", Always),
    all(12, 0x80, "SQUEEZE_PAGE", Always),
    all(12, 0x90, "DELETE", Always),
    all(12, 0xA0, "SPLIT_CLEANUP", Always),
    all(12, 0xB0, "UPDATE_META_PAGE", Always),
    all(12, 0xC0, "VACUUM_ONE_PAGE", Always),
    all(13, 0x10, "CREATE_PTREE", Always),
    all(13, 0x20, "INSERT", Always),
    all(13, 0x30, "SPLIT", Always),
    all(13, 0x40, "VACUUM_PAGE", Always),
    all(13, 0x50, "DELETE_PAGE", Always),
    all(13, 0x60, "UPDATE_META_PAGE", Always),
    all(13, 0x70, "INSERT_LISTPAGE", Always),
    all(13, 0x80, "DELETE_LISTPAGE", Always),
    all(13, 0x90, "VACUUM_DATA_LEAF_PAGE", Always),
    all(14, 0x00, "PAGE_UPDATE", Always),
    all(14, 0x10, "DELETE", Always),
    all(14, 0x20, "PAGE_REUSE", Always),
    all(14, 0x30, "PAGE_SPLIT", Always),
    all(14, 0x60, "PAGE_DELETE", Always),
    all(14, 0x70, "ASSIGN_LSN", Never(MINIMAL)),
    all(15, 0x00, "LOG", Always),
    all(16, 0x10, "ADD_LEAF", Always),
    all(16, 0x20, "MOVE_LEAFS", Always),
    all(16, 0x30, "ADD_NODE", Always),
    all(16, 0x40, "SPLIT_TUPLE", Always),
    all(16, 0x50, "PICKSPLIT", Always),
    all(16, 0x60, "VACUUM_LEAF", Always),
    all(16, 0x70, "VACUUM_ROOT", Always),
    all(16, 0x80, "VACUUM_REDIRECT", Sometimes(REWRITTEN)),
    all(17, 0x00, "CREATE_INDEX", Always),
    all(17, 0x10, "INSERT", Always),
    all(17, 0x20, "UPDATE", Always),
    all(17, 0x30, "SAMEPAGE_UPDATE", Always),
    all(17, 0x40, "REVMAP_EXTEND", Always),
    all(17, 0x50, "DESUMMARIZE", Always),
    all(18, 0x00, "ZEROPAGE", Always),
    all(18, 0x10, "TRUNCATE", Always),
    all(19, 0x00, "SET", Always),
    all(19, 0x10, "DROP", Always),
    all(20, 0x00, "GENERIC", Always),
    all(21, 0x00, "MESSAGE", Always),
];

/// Bits of the info byte that are the operation; the others are flags.
fn operation_mask(rmid: u8) -> u8 {
    match rmid {
        1 | 9 | 10 | 17 => 0x70,
        20 => 0x00,
        _ => 0xF0,
    }
}

/// What was seen of one version, by resource manager and operation.
pub struct Coverage {
    pub major: PgMajor,
    seen: BTreeMap<(u8, u8), Counts>,
}

impl Coverage {
    pub fn new(major: PgMajor, counts: &BTreeMap<(u8, u8), Counts>) -> Coverage {
        let mut seen: BTreeMap<(u8, u8), Counts> = BTreeMap::new();
        for ((rmid, info), counts) in counts {
            let sum = seen.entry((*rmid, info & operation_mask(*rmid))).or_default();
            sum.records += counts.records;
            sum.verified += counts.verified;
            sum.unverified += counts.unverified;
            sum.restored += counts.restored;
            sum.skipped += counts.skipped;
            sum.failed += counts.failed;
        }
        Coverage { major, seen }
    }

    /// How many records there were and pages they changed, in words.
    pub fn summary(&self) -> String {
        let sum = |member: fn(&Counts) -> u64| self.seen.values().map(member).sum::<u64>();
        format!(
            "{} records, {} pages compared, {} restored from images, {} without a check image, {} \
             not to be had before a first image",
            sum(|counts| counts.records),
            sum(|counts| counts.verified),
            sum(|counts| counts.restored),
            sum(|counts| counts.unverified),
            sum(|counts| counts.skipped),
        )
    }

    fn records(&self, kind: &RecordType) -> Option<Counts> {
        let exists = kind.first <= self.major && self.major <= kind.last;
        exists.then(|| self.seen.get(&(kind.rmid, kind.operation)).copied().unwrap_or_default())
    }

    /// Types that the workload must reach and has not.
    pub fn missing(&self) -> Vec<String> {
        let lacking = |kind: &&RecordType| {
            kind.reached == Always && self.records(kind).is_some_and(|counts| counts.records == 0)
        };
        let name =
            |kind: &RecordType| format!("{} {}", resource_manager_name(kind.rmid), kind.name);
        CATALOG.iter().filter(lacking).map(name).collect()
    }

    /// Types that the catalog does not know.
    pub fn unknown(&self) -> Vec<String> {
        let known = |(rmid, operation): &(u8, u8)| {
            CATALOG.iter().any(|kind| (kind.rmid, kind.operation) == (*rmid, *operation))
        };
        let unknown = self.seen.keys().filter(|kind| !known(kind));
        unknown.map(|(rmid, op)| format!("{} {op:#04x}", resource_manager_name(*rmid))).collect()
    }
}

/// The table: a line per type, and for each version how many records there were, how many of
/// their pages were compared with the server's, and how many were restored from an image.
pub fn table(versions: &[Coverage]) -> String {
    let mut table = format!("{:<18} {:<5} {:<22}", "resource manager", "info", "record");
    for version in versions {
        let _ =
            write!(table, " {:>8} {:>8} {:>7}", version.major.to_string(), "compared", "images");
    }
    table.push('\n');
    let mut notes = String::new();
    for kind in CATALOG {
        let (manager, name) = (resource_manager_name(kind.rmid), kind.name);
        let _ = write!(table, "{manager:<18} {:<#5x} {name:<22}", kind.operation);
        let mut absent = Vec::new();
        for version in versions {
            match version.records(kind) {
                None => drop(write!(table, " {:>8} {:>8} {:>7}", "-", "-", "-")),
                Some(counts) => {
                    let Counts { records, verified, restored, .. } = counts;
                    let _ = write!(table, " {records:>8} {verified:>8} {restored:>7}");
                    if counts.records == 0 {
                        absent.push(version.major.to_string());
                    }
                }
            }
        }
        table.push('\n');
        if let (false, Sometimes(reason) | Never(reason)) = (absent.is_empty(), kind.reached) {
            let _ = writeln!(notes, "not in {}: {manager} {name}: {reason}", absent.join(", "));
        }
    }
    table + &notes
}
