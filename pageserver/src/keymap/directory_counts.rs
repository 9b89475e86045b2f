//! How many entries the directories of a timeline have, as far as was seen: those that were written
//! since the timeline was loaded. For people: a schema that makes directories large makes writes slow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use postgres_ffi::SlruKind;

/// From this sum on it is shown among the metrics: small timelines are many and say nothing.
const SHOWN_FROM: u64 = 5000;
/// The same for auxiliary files alone.
const SHOWN_FROM_AUX_FILES: u64 = 1000;

/// What a directory lists, in the order in which the API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirectoryKind {
    /// Databases.
    Databases,
    /// Prepared transactions.
    PreparedTransactions,
    /// Relations of the database that was last written.
    Relations,
    /// Auxiliary files that are in one directory (policy `v1`).
    AuxFiles,
    /// Segments of the commit log.
    Clog,
    /// Segments of multixact members.
    MultiXactMembers,
    /// Segments of multixact offsets.
    MultiXactOffsets,
}

const KINDS: usize = 7;

impl DirectoryKind {
    /// The directory of an SLRU, if it is one that is counted.
    pub fn of_slru(kind: SlruKind) -> Option<Self> {
        match kind {
            SlruKind::Clog => Some(DirectoryKind::Clog),
            SlruKind::MultiXactMembers => Some(DirectoryKind::MultiXactMembers),
            SlruKind::MultiXactOffsets => Some(DirectoryKind::MultiXactOffsets),
            SlruKind::CommitTs => None,
        }
    }
}

/// The counts of one timeline.
#[derive(Debug, Default)]
pub struct DirectoryCounts {
    counts: [AtomicU64; KINDS],
}

impl DirectoryCounts {
    /// Takes over what was written.
    pub fn update(&self, written: &BTreeMap<DirectoryKind, u64>) {
        for (kind, entries) in written {
            if let Some(count) = self.counts.get(*kind as usize) {
                count.store(*entries, Ordering::Relaxed);
            }
        }
    }

    /// The sum, if there are so many entries that it should be noticed.
    pub fn remarkable_sum(&self) -> Option<u64> {
        let all = self.all();
        let sum: u64 = all.iter().sum();
        let aux_files = all.get(DirectoryKind::AuxFiles as usize).copied().unwrap_or(0);
        (sum >= SHOWN_FROM || aux_files >= SHOWN_FROM_AUX_FILES).then_some(sum)
    }

    /// Every count, in the order of [`DirectoryKind`].
    pub fn all(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_each_kind_is_kept() {
        let counts = DirectoryCounts::default();
        assert_eq!(counts.all(), [0; KINDS]);
        let written = [(DirectoryKind::Databases, 4), (DirectoryKind::Relations, 4_000)];
        counts.update(&BTreeMap::from(written));
        counts.update(&BTreeMap::from([(DirectoryKind::Relations, 4_500)]));
        counts.update(&BTreeMap::new());
        assert_eq!(counts.all(), [4, 0, 4_500, 0, 0, 0, 0]);
    }

    #[test]
    fn only_large_directories_are_remarkable() {
        let counts = DirectoryCounts::default();
        counts.update(&BTreeMap::from([(DirectoryKind::Relations, 4_999)]));
        assert_eq!(counts.remarkable_sum(), None);
        counts.update(&BTreeMap::from([(DirectoryKind::Databases, 1)]));
        assert_eq!(counts.remarkable_sum(), Some(5_000));
        counts.update(&BTreeMap::from([(DirectoryKind::Relations, 1)]));
        counts.update(&BTreeMap::from([(DirectoryKind::AuxFiles, 1_000)]));
        assert_eq!(counts.remarkable_sum(), Some(1_002));
    }
}
