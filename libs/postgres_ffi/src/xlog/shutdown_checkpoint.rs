//! The synthetic shutdown checkpoint that lets a stock server start at any position.
//!
//! A server whose `pg_control` points at this record starts as after a clean shutdown, without
//! recovery. The record becomes part of the WAL.

use utils::Lsn;

use super::builder::WalBuilder;
use super::record::RawRecord;
use super::segment::segment_start_image;
use super::{WalIdentity, page_header::TIMELINE_ID};
use crate::WAL_SEGMENT_SIZE;
use crate::checkpoint::CheckPoint;
use crate::control_file::ControlFile;

/// A shutdown checkpoint made for one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownCheckpoint {
    identity: WalIdentity,
    /// The end of the WAL before the record.
    pub start: Lsn,
    /// Where the record starts: `start`, moved past a page header.
    pub position: Lsn,
    /// Where the next record may start.
    pub end: Lsn,
    /// What the record says.
    pub checkpoint: CheckPoint,
    /// WAL from `start` to `end`, page headers included.
    pub wal: Vec<u8>,
}

impl ShutdownCheckpoint {
    /// Makes the record for WAL that ends at `start`, where the last record starts at `prev`
    /// (0 if unknown; a page boundary is moved past the page header). The values of
    /// `tracked` are kept except those that describe the record itself.
    pub fn new(identity: WalIdentity, start: Lsn, prev: Lsn, tracked: &CheckPoint) -> Self {
        let start = start.align();
        let position = start.normalize(WAL_SEGMENT_SIZE as u64);
        let prev = if prev.is_valid() { prev.normalize(WAL_SEGMENT_SIZE as u64) } else { prev };
        let checkpoint = CheckPoint {
            redo: position,
            this_timeline_id: TIMELINE_ID,
            prev_timeline_id: TIMELINE_ID,
            oldest_active_xid: 0,
            ..tracked.clone()
        };
        let mut builder = WalBuilder::new(identity, start, prev);
        builder.append(&RawRecord::shutdown_checkpoint(&checkpoint));
        let end = builder.lsn();
        ShutdownCheckpoint { identity, start, position, end, checkpoint, wal: builder.into_bytes() }
    }

    /// The segment files a data directory needs: numbers and full-size contents. One, or two
    /// if the record crosses a segment end.
    pub fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let size = WAL_SEGMENT_SIZE as u64;
        let first = self.start.segment_number(size);
        let mut image = segment_start_image(self.identity, self.start);
        let offset = self.start.segment_offset(size) as usize;
        let head = self.wal.len().min(WAL_SEGMENT_SIZE - offset);
        let (in_first, in_second) = self.wal.split_at(head);
        image.truncate(offset);
        image.extend_from_slice(in_first);
        image.resize(WAL_SEGMENT_SIZE, 0);
        let mut segments = vec![(first, image)];
        if !in_second.is_empty() {
            let mut second = in_second.to_vec();
            second.resize(WAL_SEGMENT_SIZE, 0);
            segments.push((first + 1, second));
        }
        segments
    }

    /// Makes a control file point at the record.
    pub fn patch_control_file(&self, control_file: &mut ControlFile) {
        control_file.set_clean_shutdown(self.position, &self.checkpoint);
    }
}

#[cfg(test)]
mod tests;
