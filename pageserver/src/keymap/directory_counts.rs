//! How many entries the directories of a timeline have, as far as was seen: those that were written
//! since the timeline was loaded. For people: a schema that makes directories large makes writes slow.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{IntGaugeVec, must, register_int_gauge_vec};
use postgres_ffi::SlruKind;

/// From this sum on the metric appears: small timelines are many and say nothing.
const SHOWN_FROM: u64 = 5000;
/// The same for auxiliary files alone.
const SHOWN_FROM_AUX_FILES: u64 = 1000;

static ENTRIES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    must(register_int_gauge_vec!(
        "pageserver_directory_entries_count",
        "Entries of the directories of a timeline",
        &["tenant_id", "shard_id", "timeline_id"]
    ))
});

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
#[derive(Debug)]
pub struct DirectoryCounts {
    counts: [AtomicU64; KINDS],
    /// Tenant, shard and timeline.
    labels: [String; 3],
}

impl DirectoryCounts {
    /// Nothing seen yet, of the timeline with these labels.
    pub fn new(labels: [String; 3]) -> Self {
        DirectoryCounts { counts: Default::default(), labels }
    }

    /// Takes over what was written.
    pub fn update(&self, written: &BTreeMap<DirectoryKind, u64>) {
        if written.is_empty() {
            return;
        }
        for (kind, entries) in written {
            if let Some(count) = self.counts.get(*kind as usize) {
                count.store(*entries, Ordering::Relaxed);
            }
        }
        let all = self.all();
        let sum: u64 = all.iter().sum();
        let aux_files = all.get(DirectoryKind::AuxFiles as usize).copied().unwrap_or(0);
        if sum >= SHOWN_FROM || aux_files >= SHOWN_FROM_AUX_FILES {
            let gauge = ENTRIES.with_label_values(&self.labels.each_ref().map(String::as_str));
            gauge.set(i64::try_from(sum).unwrap_or(i64::MAX));
        }
    }

    /// Every count, in the order of [`DirectoryKind`].
    pub fn all(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for DirectoryCounts {
    fn drop(&mut self) {
        // Absent unless there was something to show.
        let _ = ENTRIES.remove_label_values(&self.labels.each_ref().map(String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_each_kind_is_kept() {
        let counts = DirectoryCounts::new(["t".into(), "0000".into(), "a".into()]);
        assert_eq!(counts.all(), [0; KINDS]);
        let written = [(DirectoryKind::Databases, 4), (DirectoryKind::Relations, 4_000)];
        counts.update(&BTreeMap::from(written));
        counts.update(&BTreeMap::from([(DirectoryKind::Relations, 4_500)]));
        counts.update(&BTreeMap::new());
        assert_eq!(counts.all(), [4, 0, 4_500, 0, 0, 0, 0]);
    }

    #[test]
    fn only_large_directories_have_a_metric_and_only_while_the_timeline_lives() {
        let labels = ["a-tenant", "0000", "a-timeline"];
        let shown = || metrics::render().unwrap().contains("timeline_id=\"a-timeline\"");
        let counts = DirectoryCounts::new(labels.map(String::from));
        counts.update(&BTreeMap::from([(DirectoryKind::Relations, 4_999)]));
        assert!(!shown());
        counts.update(&BTreeMap::from([(DirectoryKind::AuxFiles, 1)]));
        assert!(shown());
        drop(counts);
        assert!(!shown());
    }
}
