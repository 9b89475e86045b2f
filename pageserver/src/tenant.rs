//! Tenants: what is attached to this node, and the timelines of each.

pub mod directory;
pub mod initdb;
mod order;
pub mod slots;
mod state;

pub use order::{OrderError, ancestors_first};
pub use state::{StateCell, WaitToBecomeActiveError};
