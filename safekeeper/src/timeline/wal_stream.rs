//! Reading a timeline's WAL wherever it is: on the local disk, or, once removed from there, in
//! the archive. What comes from the archive is passed on and not kept.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use utils::{Lsn, TenantTimelineId};

use super::{TimelineError, WalResidentTimeline};
use crate::archive::WalArchive;
use crate::blocking;
use crate::wal_storage::{SEGMENT_SIZE, WalReadError, WalReader};

/// Reads forward. Callers ask only for what is below the timeline's end.
#[derive(Debug)]
pub struct WalStream {
    ttid: TenantTimelineId,
    reader: WalReader,
    archive: Option<Arc<WalArchive>>,
    cancel: CancellationToken,
}

impl WalStream {
    /// Begins at `start`.
    pub async fn open(timeline: &WalResidentTimeline, start: Lsn) -> Result<Self, TimelineError> {
        Ok(Self {
            ttid: timeline.ttid(),
            reader: timeline.wal_reader(start).await?,
            archive: timeline.archive().cloned(),
            cancel: timeline.cancellation().clone(),
        })
    }

    /// The next byte to be read.
    pub fn position(&self) -> Lsn {
        self.reader.position()
    }

    /// Fills `buffer`, which must not reach beyond the segment it begins in.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TimelineError> {
        let filled = self.fill_from_disk(buffer)?;
        self.fill_from_archive(buffer.get_mut(filled..).unwrap_or_default()).await
    }

    /// Fills `buffer` from the local disk and returns how far it got: not to the end if a segment
    /// is not there but may be in the archive.
    pub fn fill_from_disk(&mut self, buffer: &mut [u8]) -> Result<usize, TimelineError> {
        let mut filled = 0;
        blocking::run(|| {
            loop {
                let rest = buffer.get_mut(filled..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(filled);
                }
                match self.reader.read(rest) {
                    Ok(count) => filled += count,
                    Err(WalReadError::SegmentNotFound { .. }) if self.archive.is_some() => {
                        return Ok(filled);
                    }
                    Err(source) => return Err(TimelineError::Read { ttid: self.ttid, source }),
                }
            }
        })
    }

    /// Fills `buffer` from the archive.
    pub async fn fill_from_archive(&mut self, buffer: &mut [u8]) -> Result<(), TimelineError> {
        let Some(archive) = self.archive.as_ref().filter(|_| !buffer.is_empty()) else {
            return Ok(());
        };
        let position = self.reader.position();
        let bytes = archive.read(self.ttid, position, buffer.len(), &self.cancel).await?;
        buffer.copy_from_slice(&bytes);
        self.reader.skip(bytes.len());
        Ok(())
    }

    /// How many bytes to ask for next: up to `limit`, not beyond `end` or the segment.
    pub fn next_length(&self, end: Lsn, limit: u64) -> usize {
        let position = self.position();
        let room = SEGMENT_SIZE - position.segment_offset(SEGMENT_SIZE);
        end.saturating_sub(position).min(room).min(limit) as usize
    }
}
