//! The endpoint on which computes and tools talk to the pageserver in PostgreSQL's protocol:
//! page requests, base backups, and a few commands about a tenant or timeline.
//!
//! Holds no rule of the engine: it parses, authorises, finds the timeline, asks it, and encodes
//! the answer. It knows the engine through [`TimelineDirectory`] and [`ServedTimeline`].

mod admin;
mod backup;
mod command;
mod directory;
mod handler;
mod import;
mod listener;
mod metrics;
mod pagestream;
mod read_lsn;
mod requests;

pub use directory::{
    ImportFailure, LastRecord, LeaseError, LookupError, ServedTimeline, ShardSelector,
    TenantSettings, TimelineDirectory, WaitError,
};
pub use listener::{PageService, PageServiceConfig};

#[cfg(test)]
mod tests;
