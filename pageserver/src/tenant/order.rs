//! The order in which timelines are loaded: ancestors before their branches.

use std::collections::{BTreeMap, BTreeSet};

use utils::TimelineId;

/// Some timelines cannot be loaded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OrderError {
    /// A branch without its ancestor.
    #[error("timeline {timeline} branches off timeline {ancestor}, which is not in remote storage")]
    MissingAncestor {
        /// The branch.
        timeline: TimelineId,
        /// The timeline it names.
        ancestor: TimelineId,
    },
    /// Branches of each other.
    #[error("timelines are ancestors of each other: {0:?}")]
    Cycle(Vec<TimelineId>),
}

/// Sorts timelines so that every ancestor precedes its branches.
pub fn ancestors_first<T>(
    timelines: BTreeMap<TimelineId, T>,
    ancestor_of: impl Fn(&T) -> Option<TimelineId>,
) -> Result<Vec<(TimelineId, T)>, OrderError> {
    let mut children: BTreeMap<Option<TimelineId>, BTreeSet<TimelineId>> = BTreeMap::new();
    for (timeline, value) in &timelines {
        let ancestor = ancestor_of(value);
        if let Some(ancestor) = ancestor.filter(|id| !timelines.contains_key(id)) {
            return Err(OrderError::MissingAncestor { timeline: *timeline, ancestor });
        }
        children.entry(ancestor).or_default().insert(*timeline);
    }
    let mut remaining = timelines;
    let mut ordered = Vec::with_capacity(remaining.len());
    let mut next: Vec<TimelineId> = children.remove(&None).into_iter().flatten().collect();
    while let Some(timeline) = next.pop() {
        if let Some(value) = remaining.remove(&timeline) {
            ordered.push((timeline, value));
        }
        next.extend(children.remove(&Some(timeline)).into_iter().flatten());
    }
    if remaining.is_empty() {
        Ok(ordered)
    } else {
        Err(OrderError::Cycle(remaining.into_keys().collect()))
    }
}

#[cfg(test)]
mod tests;
