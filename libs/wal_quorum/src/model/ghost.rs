//! What was promised so far, which no part of the system itself remembers.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use utils::Lsn;

use super::{ACCEPTORS, START};
use crate::term_history::Term;

/// The memory of the whole run.
#[derive(Clone, Debug)]
pub(super) struct Ghost {
    /// Committed WAL, from [`START`].
    pub(super) committed: Vec<u8>,
    /// Per term, where it began.
    elections: BTreeMap<Term, Lsn>,
    /// Per term, the highest position committed in it.
    commits: BTreeMap<Term, Lsn>,
    /// Per proposer and acceptor, the log that was voted with.
    pub(super) votes: Vec<[Vec<u8>; ACCEPTORS]>,
    /// Per proposer, the log below its term, known once it is elected.
    inherited: Vec<Vec<u8>>,
}

impl Ghost {
    pub(super) fn new(proposers: usize) -> Self {
        Self {
            committed: Vec::new(),
            elections: BTreeMap::new(),
            commits: BTreeMap::new(),
            votes: vec![Default::default(); proposers],
            inherited: vec![Vec::new(); proposers],
        }
    }

    pub(super) fn committed_lsn(&self) -> Lsn {
        START + self.committed.len() as u64
    }

    pub(super) fn elected(
        &mut self,
        proposer: usize,
        term: Term,
        start: Lsn,
        donor: usize,
    ) -> Result<(), String> {
        if self.elections.insert(term, start).is_some() {
            return Err(format!("two leaders in term {term}"));
        }
        for (older, commit_lsn) in self.commits.range(..term) {
            if start < *commit_lsn {
                return Err(format!(
                    "term {term} begins at {start}, but term {older} committed {commit_lsn}"
                ));
            }
        }
        let length = (start - START) as usize;
        let log = &self.votes[proposer][donor];
        let inherited = log.get(..length).ok_or_else(|| {
            format!("term {term} begins at {start}, above the end of its donor's log")
        })?;
        self.inherited[proposer] = inherited.to_vec();
        Ok(())
    }

    /// The leader of `term` says that its log, of which `database` is the part of its own term,
    /// is committed up to `lsn`.
    pub(super) fn commit(
        &mut self,
        proposer: usize,
        term: Term,
        database: &[u8],
        lsn: Lsn,
    ) -> Result<(), String> {
        let highest = self.commits.entry(term).or_default();
        if lsn < *highest {
            return Err(format!("commit of term {term} went back from {highest} to {lsn}"));
        }
        *highest = lsn;
        for (newer, start) in self.elections.range(term + 1..) {
            if *start < lsn {
                return Err(format!("term {newer} began at {start}, term {term} commits {lsn}"));
            }
        }
        let length = lsn.checked_sub(START).ok_or("a commit before the log begins")? as usize;
        let mut log = self.inherited[proposer].clone();
        log.extend_from_slice(database);
        let log = log.get(..length).ok_or("a commit above the end of the leader's log")?;
        let known = self.committed.len().min(length);
        if log[..known] != self.committed[..known] {
            return Err(format!("two leaders committed different bytes below {lsn}"));
        }
        self.committed.extend_from_slice(&log[known..]);
        Ok(())
    }

    pub(super) fn hash_vote(&self, proposer: usize, acceptor: usize, hasher: &mut impl Hasher) {
        self.votes[proposer][acceptor].hash(hasher);
    }

    pub(super) fn hash_proposer(&self, proposer: usize, hasher: &mut impl Hasher) {
        self.inherited[proposer].hash(hasher);
    }

    pub(super) fn hash_rest(&self, hasher: &mut impl Hasher) {
        (&self.committed, &self.elections, &self.commits).hash(hasher);
    }
}
