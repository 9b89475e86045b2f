//! What compute_ctl asks the WAL service besides the proposer's own protocol.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use postgres_client::{ConnectOptions, CopyBoth, Error};
use pq_proto::WalSenderMessage;
use utils::Lsn;

/// Limit for one safekeeper's answer on the fast path, connecting included.
const STATUS_TIMEOUT: Duration = Duration::from_millis(100);

/// A safekeeper could not serve WAL.
#[derive(Debug, thiserror::Error)]
pub enum WalFetchError {
    /// The session failed.
    #[error("safekeeper {address}: reading WAL from {position} failed: {source}")]
    Session {
        /// The safekeeper.
        address: String,
        /// Where reading stood.
        position: Lsn,
        /// What went wrong.
        source: Error,
    },
    /// Bytes from another place than asked for.
    #[error("safekeeper {address}: sent WAL of {received} when that of {expected} was due")]
    OutOfOrder {
        /// The safekeeper.
        address: String,
        /// What was due.
        expected: Lsn,
        /// What came.
        received: Lsn,
    },
    /// It has less than was asked for.
    #[error("safekeeper {address}: its WAL ends at {end}, {wanted} is wanted")]
    TooShort {
        /// The safekeeper.
        address: String,
        /// Its end of WAL.
        end: Lsn,
        /// What was wanted.
        wanted: Lsn,
    },
}

/// The positions a safekeeper reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimelineStatus {
    flush_lsn: Lsn,
    commit_lsn: Lsn,
}

/// The end of WAL if a quorum says, without an election, that everything written is committed.
/// `None` means only that an election is needed to know.
pub async fn agreed_end_without_election(safekeepers: &[ConnectOptions]) -> Option<Lsn> {
    let quorum = safekeepers.len() / 2 + 1;
    let mut answers: FuturesUnordered<_> = safekeepers.iter().map(timeline_status).collect();
    let mut positions = Vec::new();
    while positions.len() < quorum {
        // No row means that this safekeeper does not know the timeline: not synced.
        positions.extend(answers.next().await?);
    }
    let first = *positions.first()?;
    let agreed = positions.iter().all(|status| *status == first);
    (agreed && first.flush_lsn == first.commit_lsn).then_some(first.commit_lsn)
}

async fn timeline_status(safekeeper: &ConnectOptions) -> Option<TimelineStatus> {
    let ask = async {
        let mut client = safekeeper.connect().await?;
        client.simple_query("TIMELINE_STATUS").await
    };
    let rows = match tokio::time::timeout(STATUS_TIMEOUT, ask).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            tracing::info!("safekeeper {}: TIMELINE_STATUS failed: {error}", safekeeper.address());
            return None;
        }
        Err(_) => {
            tracing::info!("safekeeper {}: no TIMELINE_STATUS in time", safekeeper.address());
            return None;
        }
    };
    let row = rows.first()?;
    let lsn = |name| row.by_name(name)?.parse().ok();
    Some(TimelineStatus { flush_lsn: lsn("flush_lsn")?, commit_lsn: lsn("commit_lsn")? })
}

/// A stream of WAL from one safekeeper.
#[derive(Debug)]
pub struct WalFetch {
    address: String,
    stream: CopyBoth,
    position: Lsn,
}

impl WalFetch {
    /// Opens a stream that begins at `start`. With a term the safekeeper serves everything it
    /// has flushed while it is in that term, without one only what is committed.
    pub async fn open(
        safekeeper: &ConnectOptions,
        start: Lsn,
        term: Option<u64>,
    ) -> Result<Self, WalFetchError> {
        let address = safekeeper.address();
        let failed =
            |source| WalFetchError::Session { address: address.clone(), position: start, source };
        let mut command = format!("START_REPLICATION PHYSICAL {start}");
        if let Some(term) = term {
            command.push_str(&format!(" (term='{term}')"));
        }
        let client = safekeeper.connect().await.map_err(failed)?;
        let stream = client.copy_both(&command).await.map_err(failed)?;
        Ok(Self { address, stream, position: start })
    }

    /// Where the next bytes begin.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// The next bytes. A keepalive that shows that there is nothing up to `wanted` is an error.
    pub async fn next(&mut self, wanted: Lsn) -> Result<Bytes, WalFetchError> {
        loop {
            let payload = self.stream.recv().await.and_then(|payload| payload.ok_or(Error::Closed));
            let message = payload.and_then(|payload| Ok(WalSenderMessage::parse(payload)?));
            let message = message.map_err(|source| WalFetchError::Session {
                address: self.address.clone(),
                position: self.position,
                source,
            })?;
            match message {
                WalSenderMessage::XLogData(wal) if wal.start_lsn == self.position => {
                    self.position = wal.end_lsn();
                    return Ok(wal.data);
                }
                WalSenderMessage::XLogData(wal) => {
                    return Err(WalFetchError::OutOfOrder {
                        address: self.address.clone(),
                        expected: self.position,
                        received: wal.start_lsn,
                    });
                }
                WalSenderMessage::Keepalive(keepalive) if keepalive.wal_end < wanted => {
                    return Err(WalFetchError::TooShort {
                        address: self.address.clone(),
                        end: keepalive.wal_end,
                        wanted,
                    });
                }
                WalSenderMessage::Keepalive(_) => {}
            }
        }
    }
}
