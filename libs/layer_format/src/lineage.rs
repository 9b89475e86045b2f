//! Lineage: how a timeline's ancestry changed when it, or its ancestor, was detached.
//!
//! Part of `index_part.json`; docs/formats/index-part.md.

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use utils::{Lsn, TimelineId};

/// Bound of the reparenting history, counted as the writer counts it.
const MAX_HISTORY: usize = 100;

/// Former ancestors of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Whether older entries were dropped from the history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reparenting_history_truncated: bool,
    /// Earlier ancestors, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reparenting_history: Vec<TimelineId>,
    /// The branch point the timeline was detached from, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_ancestor: Option<(TimelineId, Lsn, NaiveDateTime)>,
}

impl Lineage {
    /// Records that `old_ancestor` was replaced. A repetition of the newest entry is ignored.
    pub fn record_previous_ancestor(&mut self, old_ancestor: TimelineId) {
        if self.reparenting_history.last() == Some(&old_ancestor) {
            return;
        }
        if self.reparenting_history.len() + 1 >= MAX_HISTORY {
            self.reparenting_history.remove(0);
            self.reparenting_history_truncated = true;
        }
        self.reparenting_history.push(old_ancestor);
    }

    /// Records the detachment from `branch_point`. Keeps the first time when repeated with the
    /// same branch point.
    ///
    /// # Panics
    /// When a different branch point was recorded before: a timeline is detached once.
    pub fn record_detaching(&mut self, branch_point: (TimelineId, Lsn), now: NaiveDateTime) {
        match &self.original_ancestor {
            None => self.original_ancestor = Some((branch_point.0, branch_point.1, now)),
            Some((id, lsn, _)) => assert_eq!(
                (*id, *lsn),
                branch_point,
                "a timeline is detached from one ancestor only"
            ),
        }
    }

    /// The branch point from before a detachment: a primary can start there without knowing
    /// the previous record.
    pub fn original_ancestor(&self) -> Option<(TimelineId, Lsn)> {
        self.original_ancestor.map(|(id, lsn, _)| (id, lsn))
    }

    /// Whether the timeline was detached from an ancestor at exactly `lsn`.
    pub fn is_previous_ancestor_lsn(&self, lsn: Lsn) -> bool {
        self.original_ancestor.is_some_and(|(_, branch_lsn, _)| branch_lsn == lsn)
    }

    /// Earlier ancestors, oldest first.
    pub fn reparenting_history(&self) -> &[TimelineId] {
        &self.reparenting_history
    }
}

#[cfg(test)]
mod tests;
