//! Deterministic simulation of proposers and acceptors (test-only).
//!
//! The real state machines run over a network that delays, loses and breaks,
//! and disks that forget what was not synced, under one virtual clock. Every
//! decision comes from one seed, so a failing run replays exactly:
//! `SIM_SEED=<seed> cargo test -p wal_quorum one_seed -- --nocapture` shows its
//! events. `SIM_SCHEDULES=200000` makes the random runs long.

mod chain;
mod compute;
pub(crate) mod disk;
mod network;
mod oracle;
pub(crate) mod records;
mod safekeeper;
mod schedule;
mod world;

#[cfg(test)]
mod tests;
