//! A private installation in one directory ("repo"): its configuration, its daemons as
//! background processes, its tenants' attachments, and its local PostgreSQL endpoints.
//!
//! The `neon_local` command is a thin shell around this. Directory names, file contents,
//! process conventions and output lines are contracts that tests and tools rely on.
//! No lock protects a repo from two commands at once.

pub mod attachments;
pub mod broker;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod distrib;
pub mod endpoint;
pub mod init;
pub mod local_http;
pub mod pageserver;
pub mod ports;
pub mod process;
pub mod safekeeper;
pub mod tenant_settings;
pub mod timeline_tree;
pub mod tokens;
