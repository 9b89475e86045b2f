//! The proposer: carries PostgreSQL's WAL to a quorum of safekeepers, and tells PostgreSQL
//! what a quorum has.
//!
//! The algorithm is the state machine of `wal_quorum`. Here is everything around it:
//! connections, the clock, the replication session with PostgreSQL, the window of recent WAL,
//! and reading older WAL from another safekeeper.

pub mod backpressure;
pub mod connection;
pub mod feedback;
pub mod source;
pub mod window;
