//! The pageserver: stores timelines as layers, ingests WAL into them and serves pages of any
//! version from them.
//!
//! Structure and invariants: docs/architecture.md.

pub mod basebackup;
pub mod config;
pub mod context;
pub mod control_plane;
pub mod deletion_queue;
pub mod disk_eviction;
pub mod http;
pub mod ingest;
pub mod keymap;
pub mod layers;
pub mod page_service;
pub mod redo;
pub mod remote;
pub mod secondary;
pub mod storage_io;
pub mod tasks;
pub mod tenant;
pub mod timeline;
pub mod walreceiver;
