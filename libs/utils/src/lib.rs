//! Small building blocks every daemon shares: identifiers, log positions,
//! crash-safe file operations, waiting primitives and process plumbing.
//!
//! Nothing here knows what a page, a layer or a timeline's content is.

pub mod generation;
pub mod id;
pub mod lsn;

pub use generation::Generation;
pub use id::{NodeId, TenantId, TenantTimelineId, TimelineId};
pub use lsn::Lsn;
