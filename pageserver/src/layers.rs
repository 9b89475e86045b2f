//! Layers: the pieces a timeline's data is kept in, and the map that finds them.
//!
//! Owns the in-memory layer that ingest writes to, the handle of a layer file that may or may
//! not be on the local disk, and the layer map. Knows nothing of WAL, redo or page requests,
//! and decides nothing about when layers are made or removed: that is [`crate::timeline`].

mod ephemeral;
pub mod in_memory;
pub mod layer;
pub mod map;
pub mod metrics;
pub mod reconstruct;

pub use in_memory::InMemoryLayer;
pub use layer::{AccessKind, Layer, LayerAccessError, LayerOwner, ResidentLayer, StatsReset};
pub use map::LayerMap;
pub use reconstruct::{KeyState, ReconstructState};
