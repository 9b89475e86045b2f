//! The timelines that others should hear of.
//!
//! Each manager keeps its own timeline in or out of the set; the broker and the metrics look at
//! all of them, so nobody has to walk through the idle ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use utils::TenantTimelineId;

use crate::timeline::Timeline;

/// A set of timelines.
#[derive(Debug, Default)]
pub struct TimelinesSet {
    timelines: Mutex<HashMap<TenantTimelineId, Arc<Timeline>>>,
}

impl TimelinesSet {
    /// Every timeline in the set.
    pub fn all(&self) -> Vec<Arc<Timeline>> {
        self.lock().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A handle to put `timeline` in and out. It starts outside.
    pub fn member(self: &Arc<Self>, timeline: Arc<Timeline>) -> SetMember {
        SetMember { set: self.clone(), timeline, present: false }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantTimelineId, Arc<Timeline>>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut timelines = self.set.lock();
        match present {
            true => timelines.insert(self.timeline.ttid(), self.timeline.clone()),
            false => timelines.remove(&self.timeline.ttid()),
        };
        true
    }
}

impl Drop for SetMember {
    fn drop(&mut self) {
        self.set(false);
    }
}
