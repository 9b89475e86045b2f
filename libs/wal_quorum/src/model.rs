//! Exhaustive exploration of a small system: three acceptors and two proposers, every order in
//! which their messages can arrive, and every moment at which an acceptor can lose its power.
//!
//! The simulation samples long runs of a large system; this visits *all* short runs of a small
//! one. The state machines are the real ones. A message that is lost is one that no step ever
//! delivers; a proposer that dies is one that no step ever feeds. What must hold is checked in
//! every state ([`check`]). States are one if they differ only in the numbering of the acceptors, or
//! of proposers that are alike, or in what nothing depends on any more, such as the votes of an
//! election that is over; and a message that will be refused whenever it comes, comes at once.
//! Two leaders that reach all acceptors, and may each write one record, are 1.6 million states.

mod check;
mod drive;
mod explore;
mod ghost;
mod storage;
mod world;
mod writer;

use utils::Lsn;

pub(crate) use crate::simulation::Mutation;

/// Where the database's WAL begins: no page header is near.
const START: Lsn = Lsn(0x149_F0F0);
/// Every record, and every message, has this many bytes.
const RECORD_BYTES: u64 = 8;
const ACCEPTORS: usize = 3;
const QUORUM: usize = 2;

/// What a proposer is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It streams the records of a database.
    Stream,
    /// It agrees on the end and leaves.
    Sync,
}

/// What the acceptors hold when the exploration begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Nothing.
    Empty,
    /// Two votes for the first proposer, which was elected and has told nobody yet.
    Led,
    /// The first has two records of term 1, the second one record of term 2, the third nothing;
    /// none is committed, and both leaders are gone.
    Diverged,
}

/// How large the explored system is.
#[derive(Clone, Debug)]
struct Bounds {
    beginning: Beginning,
    /// The proposers, each of which may start at any time.
    roles: Vec<Role>,
    /// The acceptors that each proposer can reach.
    reach: Vec<Vec<usize>>,
    /// Records that each database may write.
    records: u64,
    /// How often an acceptor may lose its power.
    crashes: u8,
    /// How often a proposer's timer may fire: heartbeats and reconnects.
    ticks: u8,
    mutation: Mutation,
}

#[cfg(test)]
mod tests;
