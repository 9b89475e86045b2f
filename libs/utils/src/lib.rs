//! Small building blocks every daemon shares: identifiers, log positions,
//! crash-safe file operations, waiting primitives and process plumbing.
//!
//! Nothing here knows what a page, a layer or a timeline's content is.

pub mod auth;
pub mod backoff;
pub mod failpoints;
pub mod fs_ext;
pub mod gate;
pub mod generation;
pub mod id;
pub mod logging;
pub mod lsn;
pub mod pid_file;
#[cfg(feature = "schema")]
mod schema;
pub mod seqwait;
pub mod signals;

pub use generation::Generation;
pub use id::{NodeId, TenantId, TenantTimelineId, TimelineId};
pub use lsn::Lsn;
