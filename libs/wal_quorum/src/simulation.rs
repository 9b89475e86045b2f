//! Deterministic simulation of proposers and acceptors (test-only).
//!
//! The real state machines run over a network that delays, loses and breaks,
//! and disks that forget what was not synced, under one virtual clock. Every
//! decision comes from one seed, so a failing run replays exactly.

pub(crate) mod disk;
pub(crate) mod records;
