//! The consensus core of the write path: how one proposer and a set of
//! safekeepers agree on a timeline's WAL.
//!
//! Both sides live here as plain state machines so that they can be tested
//! together, deterministically: [`acceptor`] is a safekeeper's half, [`proposer`]
//! the compute's. [`messages`] is the wire protocol between them (version 2),
//! [`control_file`] the acceptor's durable state, [`term_history`] who wrote
//! which part of the WAL.
//!
//! The crate is sans-IO: no sockets, files, clocks, threads or randomness.
//! Storage is reached through the traits of [`storage`]; time is an argument.
//! Assertions on invariants stay on in release builds, because going on after
//! a violation would lose committed data; whatever a peer or a disk can get
//! wrong is a typed error instead.

pub mod acceptor;
pub mod control_file;
pub mod messages;
#[cfg(test)]
mod model;
pub mod proposer;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod state;
pub mod storage;
pub mod term_history;
mod wire;

pub use term_history::{INVALID_TERM, Term, TermHistory, TermLsn};
