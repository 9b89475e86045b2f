//! Getting the bytes for one safekeeper: from the window of recent WAL, or, when it lags behind
//! that, from another safekeeper or from PostgreSQL. Nothing is queued: a safekeeper that missed
//! gigabytes is refilled at its own pace.

use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use postgres_client::ConnectOptions;
use utils::Lsn;
use wal_quorum::proposer::WalSource;

use crate::proposer::source::{SharedWindow, with_window};
use crate::safekeeper::{WalFetch, WalFetchError};

/// WAL could not be had from where it was expected.
#[derive(Debug, thiserror::Error)]
pub enum WalReadError {
    /// The window has moved on meanwhile.
    #[error("WAL from {begin} to {end} is no longer in memory")]
    NotInWindow {
        /// First byte.
        begin: Lsn,
        /// End.
        end: Lsn,
    },
    /// A source that this proposer does not have.
    #[error("there is no {0} to read WAL from")]
    NoSuchSource(&'static str),
    /// Reading from elsewhere failed.
    #[error(transparent)]
    Fetch(#[from] WalFetchError),
}

/// Where WAL can be read from.
#[derive(Clone, Debug)]
pub struct WalPlaces {
    /// Recent WAL. Sessions exist before the election says where it begins; when only
    /// synchronising it never comes.
    pub window: Arc<OnceLock<SharedWindow>>,
    /// All safekeepers.
    pub safekeepers: Arc<[ConnectOptions]>,
    /// A replication session of PostgreSQL; absent when only synchronising.
    pub database: Option<ConnectOptions>,
}

/// A session with a donor that is in use.
#[derive(Debug)]
struct Remote {
    source: WalSource,
    fetch: WalFetch,
    /// Received but not yet handed out.
    rest: Bytes,
    /// Position of the first byte of `rest`.
    position: Lsn,
}

/// The reader of one connection.
#[derive(Debug)]
pub struct WalReader {
    places: WalPlaces,
    remote: Option<Remote>,
}

impl WalReader {
    /// Nothing is opened yet.
    pub fn new(places: WalPlaces) -> Self {
        Self { places, remote: None }
    }

    /// The bytes of `begin..end`.
    pub async fn read(
        &mut self,
        begin: Lsn,
        end: Lsn,
        source: WalSource,
    ) -> Result<Bytes, WalReadError> {
        if begin == end {
            return Ok(Bytes::new());
        }
        match source {
            WalSource::Local => {
                self.remote = None;
                let window = self.places.window.get();
                let window = window.ok_or(WalReadError::NoSuchSource("window"))?;
                with_window(window, |window| window.read(begin, end))
                    .ok_or(WalReadError::NotInWindow { begin, end })
            }
            WalSource::Donor { .. } | WalSource::Database => {
                // A session is given up with the first error, so it is always in order.
                let mut remote = match self.remote.take() {
                    Some(remote) if remote.source == source && remote.position == begin => remote,
                    Some(_) | None => self.open(begin, source).await?,
                };
                let bytes = remote.read(end).await?;
                self.remote = Some(remote);
                Ok(bytes)
            }
        }
    }

    async fn open(&self, begin: Lsn, source: WalSource) -> Result<Remote, WalReadError> {
        let (options, term) = match source {
            WalSource::Donor { safekeeper, term } => {
                let options = self.places.safekeepers.get(safekeeper);
                (options.ok_or(WalReadError::NoSuchSource("such safekeeper"))?, Some(term))
            }
            WalSource::Database | WalSource::Local => {
                let options = self.places.database.as_ref();
                (options.ok_or(WalReadError::NoSuchSource("database"))?, None)
            }
        };
        tracing::info!("reading WAL from {begin} on at {}", options.address());
        let fetch = WalFetch::open(options, begin, term).await?;
        Ok(Remote { source, fetch, rest: Bytes::new(), position: begin })
    }
}

impl Remote {
    async fn read(&mut self, end: Lsn) -> Result<Bytes, WalFetchError> {
        let mut wanted = end.saturating_sub(self.position) as usize;
        let mut bytes = BytesMut::with_capacity(wanted);
        loop {
            let length = self.rest.len().min(wanted);
            bytes.extend_from_slice(&self.rest.split_to(length));
            wanted -= length;
            if wanted == 0 {
                self.position = end;
                return Ok(bytes.freeze());
            }
            debug_assert!(!self.rest.has_remaining(), "what is left over is used first");
            self.rest = self.fetch.next(end).await?;
        }
    }
}
