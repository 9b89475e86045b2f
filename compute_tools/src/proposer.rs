//! The proposer: carries PostgreSQL's WAL to a quorum of safekeepers, and tells PostgreSQL
//! what a quorum has.
//!
//! The algorithm is the state machine of `wal_quorum`. Here is everything around it:
//! connections, the clock, the replication session with PostgreSQL, the window of recent WAL,
//! and reading older WAL from another safekeeper.

pub mod backpressure;
pub mod connection;
pub mod driver;
mod isolated;
pub mod source;
mod stream;
mod sync;
pub mod wal_reader;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use postgres_client::ConnectOptions;
use rand::Rng;
use tokio::sync::watch;
use utils::{Lsn, TenantTimelineId};
use wal_quorum::proposer::{ConfigError, FatalError};

use crate::config::LagLimits;
use crate::proposer::source::{AckState, SourceError};
use crate::status::StatusBoard;

pub use isolated::stream_on_own_thread;
pub use sync::sync;

/// An election lost to another proposer is tried again this often.
const MAX_ELECTIONS: u32 = 20;
/// Limits of the random wait before that, which keeps two proposers from meeting again.
const ELECTION_WAIT_MS: std::ops::Range<u64> = 50..500;

/// Whose WAL it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The timeline.
    pub ttid: TenantTimelineId,
    /// The cluster's number; 0 while only synchronising.
    pub system_id: u64,
    /// The server's version, such as 150018.
    pub pg_version_num: u32,
}

/// What a streaming proposer needs.
#[derive(Debug)]
pub struct StreamSetup {
    /// Whose WAL it is.
    pub identity: Identity,
    /// The safekeepers.
    pub safekeepers: Vec<ConnectOptions>,
    /// X: the position the data directory was built at.
    pub start_lsn: Lsn,
    /// When to slow commits down.
    pub lag_limits: LagLimits,
    /// The superuser's session.
    pub admin: ConnectOptions,
    /// The board.
    pub board: Arc<StatusBoard>,
    /// Where commit positions go.
    pub acks: watch::Sender<AckState>,
}

/// Why the proposer gave up.
#[derive(Debug, thiserror::Error)]
pub enum ProposerError {
    /// A configuration it cannot run with.
    #[error("the proposer cannot start: {0}")]
    Config(#[from] ConfigError),
    /// The election was lost; a new one may be won.
    #[error("the election was lost at safekeeper {address}: {reason}")]
    Election {
        /// The safekeeper.
        address: String,
        /// What it said.
        reason: FatalError,
    },
    /// Another proposer has taken over.
    #[error(
        "another primary has taken over this timeline: safekeeper {address} is in term {term}, \
         ours is {ours}. PostgreSQL was stopped at once; nothing acknowledged is lost. Start this \
         endpoint again only after the other one has ended"
    )]
    Superseded {
        /// The safekeeper.
        address: String,
        /// Its term.
        term: u64,
        /// Ours.
        ours: u64,
    },
    /// The timeline grew after the data directory was built.
    #[error(
        "the timeline ends at {end_lsn} but the data directory was built for {start_lsn}: another \
         primary wrote in between; start the endpoint again"
    )]
    WrittenMeanwhile {
        /// End of the safekeepers' WAL.
        end_lsn: Lsn,
        /// What the directory continues.
        start_lsn: Lsn,
    },
    /// The session with PostgreSQL cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A task died.
    #[error("the replication task was aborted")]
    Aborted,
    /// The system gave no thread to run on.
    #[error("cannot start the proposer's thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl ProposerError {
    fn is_lost_election(&self) -> bool {
        matches!(self, Self::Election { .. })
    }
}

/// Runs elections until one is not lost.
async fn with_elections<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ProposerError>
where
    F: Future<Output = Result<T, ProposerError>>,
{
    let mut lost = 0;
    loop {
        match attempt().await {
            Err(error) if error.is_lost_election() && lost < MAX_ELECTIONS => {
                lost += 1;
                let wait_ms = rand::rng().random_range(ELECTION_WAIT_MS);
                tracing::info!("{error}; trying again in {wait_ms} ms");
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            outcome => return outcome,
        }
    }
}
