//! The digest of a range of WAL, to compare safekeepers by.

use sha2::{Digest, Sha256};
use utils::Lsn;

use crate::blocking;
use crate::timeline::wal_stream::WalStream;
use crate::timeline::{TimelineError, WalResidentTimeline};

const CHUNK_BYTES: u64 = 1 << 20;

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The range is not one of the timeline's.
    #[error(
        "no WAL from {from_lsn} to {until_lsn}: the timeline has WAL from {start_lsn} to {flush_lsn}"
    )]
    OutOfRange {
        /// As asked for.
        from_lsn: Lsn,
        /// As asked for.
        until_lsn: Lsn,
        /// Where the timeline begins.
        start_lsn: Lsn,
        /// Where its WAL ends.
        flush_lsn: Lsn,
    },
    /// The WAL cannot be read.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
}

/// SHA-256 of the WAL from `from_lsn` to `until_lsn`, in hexadecimal digits.
pub async fn digest(
    timeline: &WalResidentTimeline,
    from_lsn: Lsn,
    until_lsn: Lsn,
) -> Result<String, DigestError> {
    let (start_lsn, flush_lsn) = {
        let state = timeline.read().await;
        (state.control().timeline_start_lsn, state.flush_lsn())
    };
    if from_lsn > until_lsn || from_lsn < start_lsn || until_lsn > flush_lsn {
        return Err(DigestError::OutOfRange { from_lsn, until_lsn, start_lsn, flush_lsn });
    }
    let mut wal = WalStream::open(timeline, from_lsn).await?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    while wal.position() < until_lsn {
        let length = wal.next_length(until_lsn, CHUNK_BYTES);
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        wal.fill(chunk).await?;
        blocking::run(|| hasher.update(&chunk));
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
