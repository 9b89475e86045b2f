//! What goes wrong, and when.

use rand::Rng;
use rand::rngs::StdRng;

/// Something done to the world from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The database writes this many records.
    Write(u32),
    /// Power of a safekeeper fails between two messages.
    CrashSafekeeper(usize),
    /// Power of a safekeeper fails within the work on some message to come.
    CrashSafekeeperDuringWork(usize, u32),
    /// The next sync of a safekeeper's disk fails.
    FailSync(usize),
    /// The compute dies with its database; a new one starts from sync.
    CrashCompute,
    /// Only the proposer dies; the database goes on with a new one.
    RestartProposer,
    /// Nothing reaches or leaves a safekeeper for some milliseconds.
    CutOff(usize, u64),
    /// All connections to a safekeeper break.
    BreakLinks(usize),
    /// A second compute starts while the first goes on.
    StartRival,
    /// The database recycles WAL.
    TrimWindow,
}

/// A random list of disturbances with their times in milliseconds.
pub fn random(rng: &mut StdRng, safekeepers: usize) -> Vec<(u64, Disturbance)> {
    let mut time_ms = rng.random_range(0..100);
    let pause_bound_ms = [60, 250, 1000][rng.random_range(0..3)];
    let count = rng.random_range(1..100);
    let contested = rng.random_bool(0.3);
    let schedule = (0..count).map(|_| {
        time_ms += rng.random_range(0..pause_bound_ms);
        let disturbance = match contested {
            true => contested_disturbance(rng, safekeepers),
            false => random_disturbance(rng, safekeepers),
        };
        (time_ms, disturbance)
    });
    schedule.collect()
}

fn random_disturbance(rng: &mut StdRng, safekeepers: usize) -> Disturbance {
    let safekeeper = rng.random_range(0..safekeepers);
    match rng.random_range(0..21) {
        20 => Disturbance::FailSync(safekeeper),
        0..7 => Disturbance::Write(rng.random_range(1..10)),
        7..9 => Disturbance::CrashSafekeeper(safekeeper),
        9..12 => Disturbance::CrashSafekeeperDuringWork(safekeeper, rng.random_range(0..30)),
        12..14 => Disturbance::CrashCompute,
        14 => Disturbance::RestartProposer,
        15..17 => Disturbance::CutOff(safekeeper, rng.random_range(50..3000)),
        17 => Disturbance::BreakLinks(safekeeper),
        18 => Disturbance::StartRival,
        _ => Disturbance::TrimWindow,
    }
}

/// Leaders that change often and reach few: logs fork, and terms overlap.
fn contested_disturbance(rng: &mut StdRng, safekeepers: usize) -> Disturbance {
    let safekeeper = rng.random_range(0..safekeepers);
    match rng.random_range(0..12) {
        0..3 => Disturbance::Write(rng.random_range(1..4)),
        3..6 => Disturbance::CrashCompute,
        6 => Disturbance::RestartProposer,
        7..10 => Disturbance::CutOff(safekeeper, rng.random_range(50..1000)),
        10 => Disturbance::CrashSafekeeper(safekeeper),
        _ => Disturbance::StartRival,
    }
}
