//! Eviction under disk pressure: when the disk fills, the layers least likely to be missed go.
//!
//! Looks at the disk at intervals. Under pressure, collects the layers of all attached tenants and
//! secondary locations, orders them, and evicts from the front until the pressure would be gone.
//! What a tenant needs to make any progress goes last. Loses nothing: every layer is in remote
//! storage.

mod candidates;
mod disk;
mod metrics;
mod plan;
mod task;

pub use disk::{DiskUsage, DiskUsageError};
pub use metrics::preinitialize as preinitialize_metrics;
pub use plan::EvictedBytes;
pub use task::{DiskEvictionError, DiskEvictor, Outcome};
