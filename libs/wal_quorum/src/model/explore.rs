//! Visiting every state that can be reached, each once.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{Step, World};
use super::{Bounds, check};

/// What was seen on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Different states.
    pub(super) states: usize,
    /// Steps taken, most of which led to a state that was known.
    pub(super) steps: usize,
    /// Steps of the longest run.
    pub(super) longest: usize,
    /// States in which something was committed.
    pub(super) with_commits: usize,
    /// States in which two proposers were elected.
    pub(super) with_two_leaders: usize,
}

/// A run that breaks a promise.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    /// The steps, in order.
    pub(super) steps: Vec<Step>,
    /// What was broken.
    pub(super) what: String,
}

/// A state on the way from the first one to the present one, and what is left to try from it.
struct Visit {
    world: World,
    untried: Vec<Step>,
    taken: Option<Step>,
}

/// Explores everything within `bounds`, or up to the first violation.
pub(super) fn explore(bounds: &Bounds) -> Result<Report, Violation> {
    let mut report = Report::default();
    let mut known = BTreeSet::new();
    let first = World::new(bounds);
    known.insert(first.fingerprint());
    report.note(&first, 0);
    let mut path = vec![Visit { untried: first.steps(), world: first, taken: None }];
    while let Some(visit) = path.last_mut() {
        let Some(step) = visit.untried.pop() else {
            path.pop();
            continue;
        };
        visit.taken = Some(step);
        report.steps += 1;
        let mut next = visit.world.clone();
        // The state machines assert what they rely on.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            next.take(step)?;
            check::state(&next)
        }));
        let broken = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(what)) => Some(what),
            Err(panic) => Some(panic_text(panic.as_ref())),
        };
        if let Some(what) = broken {
            let steps = path.iter().filter_map(|visit| visit.taken).collect();
            return Err(Violation { steps, what });
        }
        if known.insert(next.fingerprint()) {
            report.note(&next, path.len());
            path.push(Visit { untried: next.steps(), world: next, taken: None });
        }
    }
    Ok(report)
}

impl Report {
    fn note(&mut self, world: &World, length: usize) {
        self.states += 1;
        self.longest = self.longest.max(length);
        let leaders = world.writers.iter().filter(|writer| writer.elected.is_some()).count();
        self.with_commits += usize::from(!world.ghost.committed.is_empty());
        self.with_two_leaders += usize::from(leaders >= 2);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
