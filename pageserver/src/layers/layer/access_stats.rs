//! When and by whom a layer was read, and when its file came and went.
//!
//! Feeds eviction, which wants the latest activity, and the HTTP API, which shows the history.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pageserver_api::models::layer::{
    HistoryBuffer, LayerAccessStat, LayerAccessStats, LayerResidenceEvent,
    LayerResidenceEventReason, LayerResidenceStatus,
};

use crate::tasks::TaskKind;

/// Events that are remembered of each sort.
const HISTORY_LENGTH: usize = 16;

/// What a reader wants of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// Values for the reconstruction of pages.
    GetValueReconstructData,
    /// Every value.
    Iter,
    /// Every key.
    KeyIter,
    /// A description for people.
    Dump,
}

impl AccessKind {
    const ALL: [AccessKind; 4] = [
        AccessKind::GetValueReconstructData,
        AccessKind::Iter,
        AccessKind::KeyIter,
        AccessKind::Dump,
    ];

    fn name(self) -> &'static str {
        match self {
            AccessKind::GetValueReconstructData => "GetValueReconstructData",
            AccessKind::Iter => "Iter",
            AccessKind::KeyIter => "KeyIter",
            AccessKind::Dump => "Dump",
        }
    }
}

/// What to forget after statistics were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsReset {
    /// Nothing.
    NoReset,
    /// Which kinds of tasks were readers.
    JustTaskKindFlags,
    /// Everything.
    AllStats,
}

impl std::str::FromStr for StatsReset {
    type Err = UnknownStatsReset;

    fn from_str(text: &str) -> Result<Self, UnknownStatsReset> {
        match text {
            "NoReset" => Ok(StatsReset::NoReset),
            "JustTaskKindFlags" => Ok(StatsReset::JustTaskKindFlags),
            "AllStats" => Ok(StatsReset::AllStats),
            _ => Err(UnknownStatsReset),
        }
    }
}

/// The text names no reset.
#[derive(Debug, thiserror::Error)]
#[error("expected NoReset, JustTaskKindFlags or AllStats")]
pub struct UnknownStatsReset;

#[derive(Clone, Copy)]
struct Access {
    when: SystemTime,
    task: TaskKind,
    kind: AccessKind,
}

#[derive(Clone, Copy)]
struct ResidenceEvent {
    when: SystemTime,
    status: LayerResidenceStatus,
    reason: LayerResidenceEventReason,
}

/// The latest events, and how many were dropped before them.
struct Ring<T> {
    events: VecDeque<T>,
    dropped: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring { events: VecDeque::new(), dropped: 0 }
    }
}

impl<T> Ring<T> {
    fn push(&mut self, event: T) {
        if self.events.len() == HISTORY_LENGTH {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    fn render<U>(&self, render: impl Fn(&T) -> U) -> HistoryBuffer<U> {
        HistoryBuffer {
            buffer: self.events.iter().map(render).collect(),
            buffer_size: HISTORY_LENGTH as u64,
            drop_count: self.dropped,
        }
    }
}

#[derive(Default)]
struct Inner {
    first: Option<Access>,
    accesses: Ring<Access>,
    counts: [u64; AccessKind::ALL.len()],
    /// One bit per kind of task, in the order of [`TaskKind::ALL`].
    task_kinds: u64,
    residence: Ring<ResidenceEvent>,
}

/// The statistics of one layer.
#[derive(Default)]
pub(super) struct AccessStats {
    inner: Mutex<Inner>,
}

impl AccessStats {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Numbers for people and heuristics: a torn update does no harm.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody read the layer.
    pub(super) fn record_access(&self, task: TaskKind, kind: AccessKind) {
        let access = Access { when: SystemTime::now(), task, kind };
        let mut inner = self.lock();
        inner.first.get_or_insert(access);
        inner.accesses.push(access);
        inner.task_kinds |= 1 << task as u64;
        if let Some(count) = inner.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// The file came or went.
    pub(super) fn record_residence(
        &self,
        status: LayerResidenceStatus,
        reason: LayerResidenceEventReason,
    ) {
        self.lock().residence.push(ResidenceEvent { when: SystemTime::now(), status, reason });
    }

    /// The later of the last access and the last change of residence.
    pub(super) fn latest_activity(&self) -> SystemTime {
        let inner = self.lock();
        let access = inner.accesses.events.back().map(|access| access.when);
        let residence = inner.residence.events.back().map(|event| event.when);
        access.max(residence).unwrap_or(UNIX_EPOCH)
    }

    /// Everything, for people.
    pub(super) fn render(&self, reset: StatsReset) -> LayerAccessStats {
        let mut inner = self.lock();
        let counts = AccessKind::ALL.iter().zip(inner.counts);
        let kinds =
            TaskKind::ALL.iter().filter(|kind| inner.task_kinds & (1 << **kind as u64) != 0);
        let rendered = LayerAccessStats {
            access_count_by_access_kind: counts
                .map(|(kind, count)| (kind.name().to_owned(), count))
                .collect(),
            task_kind_access_flag: kinds.map(|kind| kind.name().to_owned()).collect(),
            first: inner.first.as_ref().map(render_access),
            accesses_history: inner.accesses.render(render_access),
            residence_events_history: inner.residence.render(|event| LayerResidenceEvent {
                timestamp_millis_since_epoch: millis(event.when),
                status: event.status,
                reason: event.reason,
            }),
        };
        match reset {
            StatsReset::NoReset => {}
            StatsReset::JustTaskKindFlags => inner.task_kinds = 0,
            StatsReset::AllStats => *inner = Inner::default(),
        }
        rendered
    }
}

fn render_access(access: &Access) -> LayerAccessStat {
    LayerAccessStat {
        when_millis_since_epoch: millis(access.when),
        task_kind: access.task.name().to_owned(),
        access_kind: access.kind.name().to_owned(),
    }
}

fn millis(when: SystemTime) -> u64 {
    when.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests;
