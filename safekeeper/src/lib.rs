//! The safekeeper: stores a timeline's WAL durably as one of a quorum and serves it to others.
//!
//! Consensus itself is `wal_quorum`; this crate gives it disks and connections. [`wal_storage`]
//! and [`control_store`] are the disk, [`wal_service`] and [`http`] the connections, [`broker`]
//! the exchange with peers, [`timeline`] and [`timelines`] what ties them together.

pub mod archive;
pub mod auth;
mod blocking;
pub mod broker;
pub mod config;
pub mod control_store;
pub mod debug_dump;
pub mod digest;
pub mod durability;
pub mod files;
pub mod http;
pub mod metrics;
pub mod node;
pub mod node_id;
pub mod runtimes;
pub mod service;
pub mod snapshot;
pub mod timeline;
pub mod timelines;
pub mod timelines_set;
pub mod wal_service;
pub mod wal_storage;
