//! The control plane: who says which generation of a tenant is current.
//!
//! At start the node asks what it still has ([`reattach`] decides what follows from the answer); before it
//! deletes, or lets safekeepers delete, it asks whether its generations are current. Both calls are
//! repeated until there is an answer: going on without one could damage what another node needs.

mod client;
pub mod reattach;
mod settle;

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use pageserver_api::shard::TenantShardId;
use utils::Generation;

pub use client::UpcallClient;
pub use settle::{ControlPlane, Settled};

/// The process is stopping; there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no answer from the control plane: shutting down")]
pub struct NoAnswer;

/// Whoever knows which generations are current.
pub trait Authority: Send + Sync {
    /// The generations that are current, of those asked about. A shard that is absent from the
    /// answer is not ours any more. Asks until there is an answer.
    fn validate<'a>(
        &'a self,
        asked: &'a BTreeMap<TenantShardId, Generation>,
    ) -> BoxFuture<'a, Result<BTreeMap<TenantShardId, Generation>, NoAnswer>>;
}
