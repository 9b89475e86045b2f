//! A timeline as a tar archive, for another safekeeper that is to have it.
//!
//! The control file comes first, then every segment from the first that is still needed. WAL
//! may go on growing meanwhile, but not change hands: if the term is another one at the end, the
//! archive is cut off, so that the receiver sees that it is of no use.

use std::io;

use bytes::{Bytes, BytesMut};
use postgres_ffi::xlog::segment::{partial_segment_file_name, segment_file_name};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use utils::Lsn;
use wal_quorum::Term;

use crate::control_store::CONTROL_FILE_NAME;
use crate::timeline::wal_removal::{RemovalHold, horizon};
use crate::timeline::{TimelineError, WalResidentTimeline};
use crate::wal_storage::{SEGMENT_SIZE, SegmentDir, WalStorageError, segno};

/// More segments than this are not handed over like that.
const MAX_SEGMENTS: u64 = 1000;
const CHUNK_BYTES: usize = 128 * 1024;
const TAR_BLOCK_BYTES: usize = 512;

/// Why a snapshot was not taken, or not finished.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing to hand over.
    #[error("snapshot is called on uninitialized timeline")]
    Uninitialized,
    /// Too much to hand over.
    #[error(
        "the timeline has {0} segments that are still needed, at most {MAX_SEGMENTS} can be sent"
    )]
    TooManySegments(u64),
    /// One at a time.
    #[error("another snapshot of the timeline is being taken")]
    InProgress,
    /// The term of vote or log changed.
    #[error("the term changed from {from} to {to} while the snapshot was being sent")]
    TermChanged {
        /// At the beginning.
        from: Term,
        /// At the end.
        to: Term,
    },
    /// A segment is not there although nobody may have removed it.
    #[error("segment {0} is missing")]
    MissingSegment(String),
    /// The timeline cannot be used.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// A segment cannot be opened.
    #[error(transparent)]
    Storage(#[from] WalStorageError),
    /// A segment cannot be read.
    #[error("cannot read segment {segment}: {source}")]
    Read {
        /// Which.
        segment: String,
        /// The cause.
        source: io::Error,
    },
    /// The receiver went away.
    #[error("the receiver is gone")]
    Closed,
}

/// A snapshot that has begun: from here on nothing of it is removed.
#[derive(Debug)]
pub struct Snapshot {
    timeline: WalResidentTimeline,
    _hold: RemovalHold,
    control_file: Vec<u8>,
    first_segno: u64,
    flush_lsn: Lsn,
    terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    term: Term,
    last_log_term: Term,
}

/// Where the pieces of the archive go. An error makes the transport break off.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

impl Snapshot {
    /// Decides what belongs to the snapshot.
    pub async fn begin(timeline: WalResidentTimeline) -> Result<Self, SnapshotError> {
        let hold = timeline.hold_removal().ok_or(SnapshotError::InProgress)?;
        let archived = timeline.config().remote_storage.is_some();
        let state = timeline.read().await;
        let flush_lsn = state.flush_lsn();
        let first = horizon(&state, archived, None);
        if flush_lsn == Lsn::INVALID || first == Lsn::INVALID {
            return Err(SnapshotError::Uninitialized);
        }
        let first_segno = segno(first);
        let count = segno(flush_lsn) - first_segno + 1;
        if count > MAX_SEGMENTS {
            return Err(SnapshotError::TooManySegments(count));
        }
        let terms = Terms { term: state.term(), last_log_term: state.last_log_term() };
        let control_file = state.control().persistent().encode();
        drop(state);
        Ok(Self { timeline, _hold: hold, control_file, first_segno, flush_lsn, terms })
    }

    /// Sends the archive. If that fails, or the timeline goes away, the receiver is told so.
    pub async fn send(self, pieces: Pieces) {
        let cancel = self.timeline.cancellation().clone();
        let sent = tokio::select! {
            () = cancel.cancelled() => Err(TimelineError::Cancelled(self.timeline.ttid()).into()),
            sent = self.send_all(&pieces) => sent,
        };
        match sent {
            Ok(()) => tracing::info!("snapshot sent"),
            Err(error) => {
                tracing::warn!("snapshot failed: {error}");
                // If the receiver is gone there is nobody to tell.
                let _ = pieces.send(Err(io::Error::other(error))).await;
            }
        }
    }

    async fn send_all(&self, pieces: &Pieces) -> Result<(), SnapshotError> {
        utils::pausable_failpoint!("sk-snapshot-after-list-pausable");
        let length = self.control_file.len() as u64;
        send(pieces, header(CONTROL_FILE_NAME, length)).await?;
        send(pieces, self.control_file.clone().into()).await?;
        send(pieces, padding(length)).await?;
        for segno in self.first_segno..=segno(self.flush_lsn) {
            self.send_segment(segno, pieces).await?;
        }
        let state = self.timeline.read().await;
        let now = Terms { term: state.term(), last_log_term: state.last_log_term() };
        drop(state);
        if now != self.terms {
            return Err(SnapshotError::TermChanged { from: self.terms.term, to: now.term });
        }
        send(pieces, vec![0; 2 * TAR_BLOCK_BYTES].into()).await
    }

    async fn send_segment(&self, number: u64, pieces: &Pieces) -> Result<(), SnapshotError> {
        let is_last = number == segno(self.flush_lsn);
        let Some((name, file)) = open(&self.timeline.segments(), number, is_last)? else {
            // WAL that ends between two segments needs no file for the second.
            if is_last && self.flush_lsn.segment_offset(SEGMENT_SIZE) == 0 {
                return Ok(());
            }
            return Err(SnapshotError::MissingSegment(segment_file_name(number)));
        };
        send(pieces, header(&name, SEGMENT_SIZE)).await?;
        let mut content = tokio::fs::File::from_std(file).take(SEGMENT_SIZE);
        let mut rest = SEGMENT_SIZE;
        while rest > 0 {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            let count = content.read_buf(&mut chunk).await;
            let failed = |source| SnapshotError::Read { segment: name.clone(), source };
            let count = count.map_err(failed)? as u64;
            if count == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            rest -= count;
            send(pieces, chunk.freeze()).await?;
        }
        Ok(())
    }
}

/// Opens a segment under the name it shall have in the archive. The last one is incomplete for
/// the receiver even if it has been filled meanwhile.
fn open(
    segments: &SegmentDir,
    number: u64,
    is_last: bool,
) -> Result<Option<(String, std::fs::File)>, WalStorageError> {
    let Some(file) = segments.open_local(number)? else { return Ok(None) };
    let partial = partial_segment_file_name(number);
    let incomplete = is_last || segments.partial_path(number).exists();
    Ok(Some((if incomplete { partial } else { segment_file_name(number) }, file)))
}

async fn send(pieces: &Pieces, piece: Bytes) -> Result<(), SnapshotError> {
    pieces.send(Ok(piece)).await.map_err(|_| SnapshotError::Closed)
}

fn header(name: &str, length: u64) -> Bytes {
    let mut header = tar::Header::new_ustar();
    // Our names are short plain ASCII, which the fixed field takes.
    for (place, byte) in header.as_old_mut().name.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

fn padding(length: u64) -> Bytes {
    let used = length as usize % TAR_BLOCK_BYTES;
    vec![0; (TAR_BLOCK_BYTES - used) % TAR_BLOCK_BYTES].into()
}
