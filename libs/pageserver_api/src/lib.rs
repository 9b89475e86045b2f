//! What the pageserver and its clients agree on: storage keys and values, shard identity,
//! and the models of its HTTP API.

pub mod client;
pub mod key;
pub mod keyspace;
pub mod models;
pub mod pagestream;
pub mod shard;
pub mod upcalls;
pub mod value;

pub use key::Key;
pub use keyspace::KeySpace;
pub use shard::{ShardIdentity, ShardIndex, TenantShardId};
pub use value::{Value, WalRecord};
