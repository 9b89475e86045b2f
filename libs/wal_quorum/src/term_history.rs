//! Who wrote which part of a timeline's WAL.
//!
//! A term history lists, in order, the terms that contributed WAL and where
//! each began. Comparing two histories tells up to which byte two logs are
//! equal (see [`TermHistory::highest_common_point`]); nothing else may be
//! used for that decision.

use serde::{Deserialize, Serialize};
use utils::Lsn;

/// Logical clock of leadership; grows by one with every election.
pub type Term = u64;

/// The term that no leader ever has.
pub const INVALID_TERM: Term = 0;

/// One history entry: `term`'s leader wrote the WAL from `lsn` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TermLsn {
    /// The leader's term.
    pub term: Term,
    /// Where its WAL begins.
    pub lsn: Lsn,
}

impl From<(Term, Lsn)> for TermLsn {
    fn from((term, lsn): (Term, Lsn)) -> Self {
        Self { term, lsn }
    }
}

/// The entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TermHistory(pub Vec<TermLsn>);

/// Two histories claim different start positions for the same term, which no
/// correct pair of logs can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "term histories disagree about the start of term {term}: {left} against {right}; \
     one of the logs is corrupted"
)]
pub struct HistoryConflict {
    /// The term both contain.
    pub term: Term,
    /// Its start in the leader's history.
    pub left: Lsn,
    /// Its start in the safekeeper's history.
    pub right: Lsn,
}

/// A history does not describe any possible log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A leader's history must at least hold its own term.
    #[error("the term history is empty")]
    Empty,
    /// Terms must rise strictly and positions must not fall.
    #[error("term history entry ({term}, {lsn}) does not follow ({previous_term}, {previous_lsn})")]
    NotAscending {
        /// Term of the earlier entry.
        previous_term: Term,
        /// Position of the earlier entry.
        previous_lsn: Lsn,
        /// Term of the later entry.
        term: Term,
        /// Position of the later entry.
        lsn: Lsn,
    },
}

impl TermHistory {
    /// The part that describes WAL ending at `end`: entries that start at or
    /// below it. A stored history may run ahead of the WAL, so whatever is
    /// told to others goes through here.
    pub fn up_to(&self, end: Lsn) -> TermHistory {
        TermHistory(self.0.iter().copied().take_while(|entry| entry.lsn <= end).collect())
    }

    /// The term of the last entry, [`INVALID_TERM`] when there is none.
    pub fn last_term(&self) -> Term {
        self.0.last().map_or(INVALID_TERM, |entry| entry.term)
    }

    /// Checks that the history is that of a leader: not empty, terms rising
    /// strictly, positions never falling.
    pub fn check_leader_history(&self) -> Result<(), HistoryError> {
        if self.0.is_empty() {
            return Err(HistoryError::Empty);
        }
        self.check_ascending()
    }

    /// Checks that terms rise strictly and positions never fall.
    pub fn check_ascending(&self) -> Result<(), HistoryError> {
        for (previous, entry) in self.0.iter().zip(self.0.iter().skip(1)) {
            if entry.term <= previous.term || entry.lsn < previous.lsn {
                return Err(HistoryError::NotAscending {
                    previous_term: previous.term,
                    previous_lsn: previous.lsn,
                    term: entry.term,
                    lsn: entry.lsn,
                });
            }
        }
        Ok(())
    }

    /// The last position up to which a safekeeper's log equals the leader's,
    /// with the term that position belongs to.
    ///
    /// `self` is the leader's open-ended history, `safekeeper` the history of
    /// a log that ends at `safekeeper_end`. `None`: nothing in common.
    pub fn highest_common_point(
        &self,
        safekeeper: &TermHistory,
        safekeeper_end: Lsn,
    ) -> Result<Option<TermLsn>, HistoryConflict> {
        let mut common = None;
        for (index, (ours, theirs)) in self.0.iter().zip(&safekeeper.0).enumerate() {
            if ours.term != theirs.term {
                break;
            }
            if ours.lsn != theirs.lsn {
                return Err(HistoryConflict { term: ours.term, left: ours.lsn, right: theirs.lsn });
            }
            common = Some((index, ours.term));
        }
        let Some((index, term)) = common else { return Ok(None) };
        let their_end = safekeeper.0.get(index + 1).map_or(safekeeper_end, |next| next.lsn);
        let lsn = match self.0.get(index + 1) {
            Some(our_next) => our_next.lsn.min(their_end),
            // Still inside the leader's own term, where nothing can diverge.
            None => safekeeper_end,
        };
        Ok(Some(TermLsn { term, lsn }))
    }
}

impl<const N: usize> From<[(Term, Lsn); N]> for TermHistory {
    fn from(entries: [(Term, Lsn); N]) -> Self {
        Self(entries.into_iter().map(TermLsn::from).collect())
    }
}

#[cfg(test)]
mod tests;
