//! What the pageserver and its clients agree on: storage keys and values, shard identity,
//! and the models of its HTTP API.

pub mod key;
pub mod value;

pub use key::Key;
pub use value::{Value, WalRecord};
