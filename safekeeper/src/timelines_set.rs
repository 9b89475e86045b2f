//! The timelines that others should hear of.
//!
//! Each manager keeps its own timeline in or out of the set; the broker and the metrics look at
//! all of them, so nobody has to walk through the idle ones.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use utils::TenantTimelineId;

use crate::timeline::Timeline;

/// A set of timelines.
#[derive(Debug, Default)]
pub struct TimelinesSet {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    present: HashMap<TenantTimelineId, Arc<Timeline>>,
    /// Those that came to rest since somebody asked.
    rested: HashSet<TenantTimelineId>,
}

impl TimelinesSet {
    /// Every timeline in the set.
    pub fn all(&self) -> Vec<Arc<Timeline>> {
        self.lock().present.values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().present.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lock().present.is_empty()
    }

    /// The timelines that left the set since the last call and still exist.
    pub fn take_rested(&self) -> HashSet<TenantTimelineId> {
        std::mem::take(&mut self.lock().rested)
    }

    /// A handle to put `timeline` in and out. It starts outside.
    pub fn member(self: &Arc<Self>, timeline: Arc<Timeline>) -> SetMember {
        SetMember { set: self.clone(), timeline, present: false }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One timeline's membership; dropping it takes the timeline out.
#[derive(Debug)]
pub struct SetMember {
    set: Arc<TimelinesSet>,
    timeline: Arc<Timeline>,
    present: bool,
}

impl SetMember {
    /// Whether the timeline is in the set.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Puts the timeline in or out; returns whether that was news.
    pub fn set(&mut self, present: bool) -> bool {
        if self.present == present {
            return false;
        }
        self.present = present;
        let ttid = self.timeline.ttid();
        let mut members = self.set.lock();
        if present {
            members.present.insert(ttid, self.timeline.clone());
            members.rested.remove(&ttid);
        } else {
            members.present.remove(&ttid);
            members.rested.insert(ttid);
        }
        true
    }
}

impl Drop for SetMember {
    fn drop(&mut self) {
        self.set(false);
        // It is gone, not at rest.
        self.set.lock().rested.remove(&self.timeline.ttid());
    }
}
