//! Running stock PostgreSQL on the storage.
//!
//! One endpoint: agree with the safekeepers on the end of WAL, build a data directory from the
//! pageserver at that position, start an unmodified server on it, carry its WAL to the
//! safekeepers, and answer questions about all of this. The data directory is disposable; the
//! quorum of safekeepers is the durability.

pub mod basebackup;
pub mod boot;
pub mod catalog;
pub mod cli;
pub mod compute;
pub mod config;
pub mod http;
pub mod pageserver;
pub mod pgdata;
pub mod postgres;
pub mod primary;
pub mod proposer;
pub mod replica;
pub mod safekeeper;
pub mod spec;
pub mod status;
pub mod wal_fill;
