//! The read side of a timeline's WAL.
//!
//! A reader walks forward from a start position. It does not know where the WAL ends: a segment
//! goes on with zeros, so callers ask only for bytes below a flush or commit position. Blocks.

use std::io;

use postgres_ffi::xlog::{WalIdentity, segment_start_image};
use utils::Lsn;
use wal_quorum::control_file::ControlFile;

use super::{SEGMENT_SIZE, SegmentDir, WalStorageError, segment_start, segno};
use crate::files::DiskFile;

/// Why WAL cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalReadError {
    /// No leader has announced itself yet, so there is no WAL.
    #[error("state uninitialized, no data to read")]
    Uninitialized,
    /// The version of the cluster decides how WAL looks.
    #[error(transparent)]
    UnsupportedVersion(#[from] postgres_ffi::version::UnsupportedVersion),
    /// The timeline begins later.
    #[error("cannot read WAL at {start}: the timeline begins at {timeline_start_lsn}")]
    BeforeStart {
        /// Requested position.
        start: Lsn,
        /// Where the timeline begins.
        timeline_start_lsn: Lsn,
    },
    /// Neither the local disk nor anything else has the segment.
    #[error(
        "WAL segment is not found: {segment} (position {position}, local WAL begins at {local_start_lsn})"
    )]
    SegmentNotFound {
        /// File name of the segment.
        segment: String,
        /// Requested position.
        position: Lsn,
        /// Where this safekeeper's WAL begins.
        local_start_lsn: Lsn,
    },
    /// The segment ends early.
    #[error("WAL segment {segment} is shorter than a segment: nothing at {position}")]
    ShortSegment {
        /// File name of the segment.
        segment: String,
        /// Requested position.
        position: Lsn,
    },
    /// The file system refused.
    #[error("cannot read WAL at {position}: {source}")]
    Io {
        /// Requested position.
        position: Lsn,
        /// The cause.
        source: io::Error,
    },
    /// The segment could not be opened.
    #[error(transparent)]
    Storage(#[from] WalStorageError),
}

/// What a reader must know of the timeline; a copy of the persistent state's fields.
#[derive(Clone, Debug)]
pub struct WalSource {
    segments: SegmentDir,
    identity: WalIdentity,
    timeline_start_lsn: Lsn,
    local_start_lsn: Lsn,
}

impl WalSource {
    /// Describes the WAL of a timeline with this state, kept in `segments`.
    pub fn new(segments: SegmentDir, state: &ControlFile) -> Result<Self, WalReadError> {
        if state.server.wal_seg_size == 0 || !state.local_start_lsn.is_valid() {
            return Err(WalReadError::Uninitialized);
        }
        let major = postgres_ffi::PgMajor::from_version_num(state.server.pg_version)?;
        Ok(Self {
            segments,
            identity: WalIdentity { major, system_id: state.server.system_id },
            timeline_start_lsn: state.timeline_start_lsn,
            local_start_lsn: state.local_start_lsn,
        })
    }
}

/// Reads WAL forward.
#[derive(Debug)]
pub struct WalReader {
    source: WalSource,
    position: Lsn,
    /// The timeline's first segment up to its start, kept while reading there.
    generated: Option<Vec<u8>>,
    open: Option<(u64, Box<dyn DiskFile>)>,
}

impl WalReader {
    /// Begins at `start`, which may precede the timeline's start within the same segment:
    /// standbys and `pg_receivewal` begin at segment boundaries.
    pub fn new(source: WalSource, start: Lsn) -> Result<Self, WalReadError> {
        let timeline_start_lsn = source.timeline_start_lsn;
        if start < segment_start(segno(timeline_start_lsn)) {
            return Err(WalReadError::BeforeStart { start, timeline_start_lsn });
        }
        Ok(Self { source, position: start, generated: None, open: None })
    }

    /// The next byte to be read.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Goes on after bytes that the caller got from elsewhere.
    pub fn skip(&mut self, bytes: usize) {
        self.position = self.position + bytes as u64;
    }

    /// Fills the front of `buffer`, within one segment, and returns how much it filled: at least
    /// one byte unless `buffer` is empty.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, WalReadError> {
        let room = SEGMENT_SIZE - self.position.segment_offset(SEGMENT_SIZE);
        let length = buffer.len().min(room as usize);
        let window = buffer.get_mut(..length).unwrap_or_default();
        let count = if self.position < self.source.timeline_start_lsn {
            self.read_generated(window)
        } else {
            self.read_file(window)?
        };
        self.position = self.position + count as u64;
        Ok(count)
    }

    fn read_generated(&mut self, window: &mut [u8]) -> usize {
        let WalSource { identity, timeline_start_lsn, .. } = self.source;
        let image =
            self.generated.get_or_insert_with(|| segment_start_image(identity, timeline_start_lsn));
        let until_start = (timeline_start_lsn - self.position) as usize;
        let offset = self.position.segment_offset(SEGMENT_SIZE) as usize;
        let from = image.get(offset..).unwrap_or_default();
        let count = window.len().min(until_start).min(from.len());
        window.iter_mut().zip(from).take(count).for_each(|(to, byte)| *to = *byte);
        if count == until_start {
            self.generated = None;
        }
        count
    }

    fn read_file(&mut self, window: &mut [u8]) -> Result<usize, WalReadError> {
        let position = self.position;
        let wanted = segno(position);
        let file = match self.open.take().filter(|(segno, _)| *segno == wanted) {
            Some((_, file)) => file,
            None => self.open_segment(wanted)?,
        };
        let offset = position.segment_offset(SEGMENT_SIZE);
        let count =
            file.read_at(window, offset).map_err(|source| WalReadError::Io { position, source })?;
        if count == 0 && !window.is_empty() {
            let segment = postgres_ffi::xlog::segment_file_name(wanted);
            return Err(WalReadError::ShortSegment { segment, position });
        }
        self.open = Some((wanted, file));
        Ok(count)
    }

    fn open_segment(&self, segno: u64) -> Result<Box<dyn DiskFile>, WalReadError> {
        let WalSource { segments, local_start_lsn, .. } = &self.source;
        // Below its start a local segment holds no WAL but zeros.
        let local = match self.position < *local_start_lsn {
            true => None,
            false => segments.open_for_read(segno)?,
        };
        local.ok_or_else(|| WalReadError::SegmentNotFound {
            segment: postgres_ffi::xlog::segment_file_name(segno),
            position: self.position,
            local_start_lsn: *local_start_lsn,
        })
    }
}

#[cfg(test)]
mod tests;
