//! Deterministic simulation of proposers and acceptors; for tests only.
//!
//! The real state machines run over a network that delays, loses and breaks,
//! and disks that forget what was not synced, under one virtual clock. The disk
//! is this module's own or that of a [`Platform`] which brings real storage. Every
//! decision comes from one seed, so a failing run replays exactly:
//! `SIM_SEED=<seed> cargo test -p wal_quorum one_seed -- --nocapture` shows its
//! events. `SIM_SCHEDULES=200000` makes the random runs long.

pub mod chain;
pub mod compute;
pub mod disk;
pub mod network;
pub mod oracle;
pub mod platform;
pub mod records;
pub mod safekeeper;
pub mod schedule;
pub mod world;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use disk::DiskFault;
pub use platform::Platform;
pub use world::{Mutation, World};

use network::NetworkOptions;
use world::Happening;

/// Runs one random schedule to its end and checks every invariant on the way.
/// Everything random about it comes from `seed`.
pub fn run_random<P: Platform>(seed: u64, mutation: Mutation, trace: bool) -> World<P> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let count = if seed % 10 == 9 { 5 } else { 3 };
    let options = match seed % 4 {
        0 => NetworkOptions::reliable(),
        _ => NetworkOptions::random(&mut rng),
    };
    let mut world = World::new(seed, count, options, mutation);
    world.trace = trace;
    let disturbances = schedule::random(&mut rng, count);
    let end_ms = disturbances.last().map_or(0, |(time_ms, _)| time_ms + 500);
    for (time_ms, disturbance) in disturbances {
        world.at(time_ms, Happening::Disturb(disturbance));
    }
    world.start_chain();
    world.run_until(end_ms);
    world.settle();
    world
}

#[cfg(test)]
mod tests;
