//! What must hold at every step, whatever happens.

use std::collections::BTreeMap;

use utils::Lsn;

use super::compute::Compute;
use super::platform::Platform;
use super::safekeeper::{Safekeeper, SimulatedAcceptor};
use crate::proposer::Election;
use crate::storage::WalStorage;
use crate::term_history::{Term, TermHistory};

/// What was seen of one safekeeper.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: Term,
    /// Since it was last started.
    commit_lsn: Lsn,
}

/// The memory of everything promised so far.
#[derive(Debug)]
pub struct Oracle {
    quorum: usize,
    start_lsn: Lsn,
    /// The committed WAL, from `start_lsn`.
    committed: Vec<u8>,
    /// Per term, the highest position committed in it.
    commits: BTreeMap<Term, Lsn>,
    /// Per term, where it began.
    elections: BTreeMap<Term, Lsn>,
    timeline_start_lsn: Lsn,
    seen: Vec<Seen>,
}

impl Oracle {
    pub fn new(safekeepers: usize, start_lsn: Lsn) -> Self {
        Self {
            start_lsn,
            quorum: safekeepers / 2 + 1,
            committed: Vec::new(),
            commits: BTreeMap::new(),
            elections: BTreeMap::new(),
            timeline_start_lsn: Lsn::INVALID,
            seen: vec![Seen::default(); safekeepers],
        }
    }

    pub fn committed_lsn(&self) -> Lsn {
        self.start_lsn + self.committed.len() as u64
    }

    /// Whether a disk begins with what was committed.
    pub fn matches<P: Platform>(&self, disk: &P) -> bool {
        disk.durable_starts_with(&self.committed)
    }

    /// Election safety and leader completeness.
    pub fn elected(&mut self, election: &Election) {
        let term = election.term;
        let epoch_start = election.epoch_start_lsn;
        let other = self.elections.insert(term, epoch_start);
        assert_eq!(other, None, "two leaders in term {term}");
        assert!(election.donor_last_log_term < term, "donor is ahead of term {term}");
        assert!(election.donor_last_log_lsn <= epoch_start, "term {term} begins inside the past");
        for (older, commit_lsn) in self.commits.range(..term) {
            assert!(
                epoch_start >= *commit_lsn,
                "term {term} begins at {epoch_start}, but term {older} committed {commit_lsn}"
            );
        }
    }

    /// A proposer says that `lsn` is committed.
    pub fn committed<P: Platform>(
        &mut self,
        compute: &Compute,
        term: Term,
        lsn: Lsn,
        safekeepers: &[Safekeeper<P>],
    ) {
        let highest = self.commits.entry(term).or_default();
        assert!(lsn >= *highest, "commit of term {term} went back from {highest} to {lsn}");
        *highest = lsn;
        for (newer, epoch_start) in self.elections.range(term + 1..) {
            assert!(
                *epoch_start >= lsn,
                "term {newer} began at {epoch_start}, but term {term} commits {lsn}"
            );
        }
        if lsn > self.committed_lsn() {
            let new = self.newly_committed(compute, term, lsn, safekeepers);
            self.committed.extend(new);
        }
        self.check_durability(safekeepers);
    }

    /// The bytes between the old commit position and `lsn`, from the database
    /// or, below its term, from a safekeeper that acknowledged them.
    fn newly_committed<P: Platform>(
        &self,
        compute: &Compute,
        term: Term,
        lsn: Lsn,
        safekeepers: &[Safekeeper<P>],
    ) -> Vec<u8> {
        let start = self.committed_lsn();
        if let Some(bytes) = compute.database.as_ref().and_then(|db| db.read(start, lsn)) {
            return bytes.to_vec();
        }
        let follows = |safekeeper: &&Safekeeper<P>| {
            safekeeper.disk.control_file().is_some_and(|file| {
                file.acceptor_state.term_history.0.iter().any(|entry| entry.term == term)
            })
        };
        // Followers that are still being filled have something else there, and those that
        // acknowledged may be down by now: what most of the platters have is what was committed.
        let followers = safekeepers.iter().filter(follows);
        let contents: Vec<_> =
            followers.map(|safekeeper| safekeeper.disk.read_durable(start..lsn)).collect();
        let held_by = |bytes: &Vec<u8>| contents.iter().filter(|other| *other == bytes).count();
        let committed = contents.iter().max_by_key(|bytes| held_by(bytes));
        committed.expect("a committed position was acknowledged by somebody").clone()
    }

    /// Committed WAL is on the platters of a quorum, always.
    fn check_durability<P: Platform>(&self, safekeepers: &[Safekeeper<P>]) {
        let holds =
            |safekeeper: &&Safekeeper<P>| safekeeper.disk.durable_starts_with(&self.committed);
        let holders = safekeepers.iter().filter(holds).count();
        assert!(
            holders >= self.quorum,
            "only {holders} safekeepers durably hold the committed WAL up to {}",
            self.committed_lsn()
        );
    }

    pub fn restarted(&mut self, index: usize) {
        self.seen[index].commit_lsn = Lsn::INVALID;
    }

    /// Everything that concerns one safekeeper, after it did something.
    pub fn check_safekeeper<P: Platform>(&mut self, index: usize, safekeepers: &[Safekeeper<P>]) {
        self.check_durability(safekeepers);
        let Some(acceptor) = &safekeepers[index].acceptor else { return };
        self.check_positions::<P>(index, acceptor);
        if safekeepers[index].disk.needs_restart() {
            // Whatever it did last failed half-way, and it does nothing more until a restart.
            return;
        }
        let flush_lsn = acceptor.flush_lsn();
        if flush_lsn > self.start_lsn {
            let disk = &safekeepers[index].disk;
            let whole = self.start_lsn..flush_lsn;
            assert!(
                disk.is_synced(whole),
                "safekeeper {index} says {flush_lsn} is flushed, which it is not"
            );
        }
        for other in safekeepers.iter().filter(|other| !std::ptr::eq(*other, &safekeepers[index])) {
            if let Some(other_acceptor) = &other.acceptor
                && !other.disk.needs_restart()
            {
                let end = matching_end::<P>(acceptor, other_acceptor);
                let equal = end <= self.start_lsn
                    || safekeepers[index].disk.read(self.start_lsn..end)
                        == other.disk.read(self.start_lsn..end);
                assert!(equal, "logs of the same history differ below {end}");
            }
        }
    }

    fn check_positions<P: Platform>(&mut self, index: usize, acceptor: &SimulatedAcceptor<P>) {
        let term = acceptor.term();
        let memory = acceptor.state().memory;
        let seen = &mut self.seen[index];
        assert!(term >= seen.term, "safekeeper {index} forgot term {}", seen.term);
        assert!(
            memory.commit_lsn >= seen.commit_lsn,
            "safekeeper {index} forgot commit {}",
            seen.commit_lsn
        );
        *seen = Seen { term, commit_lsn: memory.commit_lsn };
        assert!(memory.commit_lsn <= acceptor.flush_lsn(), "commit is ahead of the log");
        let wal = acceptor.wal();
        assert!(wal.write_lsn() >= wal.write_record_lsn());
        assert!(wal.write_record_lsn() >= wal.flush_record_lsn());
        let committed_lsn = self.committed_lsn();
        assert!(
            memory.commit_lsn <= committed_lsn,
            "safekeeper {index} has commit {}, committed is {committed_lsn}",
            memory.commit_lsn
        );
        assert!(memory.peer_horizon_lsn <= committed_lsn, "truncated before committed");
        let start = acceptor.state().timeline_start_lsn;
        if start.is_valid() {
            if self.timeline_start_lsn == Lsn::INVALID {
                self.timeline_start_lsn = start;
            }
            assert_eq!(start, self.timeline_start_lsn, "two starts of one timeline");
        }
    }
}

/// Up to where two logs must be equal because their histories are.
fn matching_end<P: Platform>(left: &SimulatedAcceptor<P>, right: &SimulatedAcceptor<P>) -> Lsn {
    let (left_history, right_history) = (left.term_history(), right.term_history());
    let end_of = |history: &TermHistory, index: usize, flush_lsn: Lsn| {
        history.0.get(index).map_or(flush_lsn, |entry| entry.lsn)
    };
    let mut end = Lsn::INVALID;
    for (index, (ours, theirs)) in left_history.0.iter().zip(&right_history.0).enumerate() {
        if ours != theirs {
            assert_ne!(ours.term, theirs.term, "term {} began at two positions", ours.term);
            break;
        }
        let left_end = end_of(&left_history, index + 1, left.flush_lsn());
        let right_end = end_of(&right_history, index + 1, right.flush_lsn());
        end = left_end.min(right_end);
    }
    end
}
