//! The write side of a timeline's WAL: append, flush, truncate.
//!
//! Keeps three positions, `write_lsn >= write_record_lsn >= flush_record_lsn`: bytes written,
//! end of the last whole record written, end of the last whole record known durable. The one
//! exception to the first inequality is a log switch, whose boundary is the start of the next
//! segment before the zeros up to there have arrived; the file holds those zeros already.
//!
//! After a start, or a truncation that did not finish, the files may hold leftovers above the
//! end; writes are refused until a truncation has succeeded. After a failed sync everything is
//! refused for good: the kernel may have dropped the pages it could not write.

use std::time::{Duration, Instant};

use postgres_ffi::PgMajor;
use postgres_ffi::xlog::{WalIdentity, segment_start_image};
use utils::Lsn;
use wal_decoder::stream::WalStreamDecoder;
use wal_quorum::control_file::ServerInfo;
use wal_quorum::storage::{StorageError, WalStorage};

use super::segment::{OpenSegment, SpareSegment};
use super::{SEGMENT_SIZE, SegmentDir, WalStorageError, scan, segno};
use crate::metrics;

/// Where in a segment the next one begins to be made, beside the appends: a commit does not wait
/// for zeros, and a timeline that is hardly written to has no segment to spare.
const SPARE_FROM: u64 = SEGMENT_SIZE / 2;

/// WAL files of one timeline, opened for writing.
#[derive(Debug)]
pub struct FileWalStorage {
    segments: SegmentDir,
    major: PgMajor,
    write_lsn: Lsn,
    write_record_lsn: Lsn,
    flush_record_lsn: Lsn,
    decoder: WalStreamDecoder,
    /// The segment `write_lsn` is inside of; none at a segment boundary or before the first write.
    open: Option<OpenSegment>,
    /// The segment after that one, in the making.
    spare: Option<SpareSegment>,
    /// Files may hold bytes above `write_lsn` that are not part of this timeline.
    needs_truncation: bool,
    poisoned: Option<String>,
    effort: WalEffort,
}

/// What writing has cost since the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct WalEffort {
    /// Bytes written.
    pub written_bytes: u64,
    /// Time spent in writes.
    pub write_time: Duration,
    /// Time spent in syncs.
    pub sync_time: Duration,
}

impl FileWalStorage {
    /// Opens the WAL that a timeline with this commit position has, and makes what it finds
    /// durable: after a crash of the process alone the newest bytes may be in memory only.
    pub fn open(
        segments: SegmentDir,
        major: PgMajor,
        commit_lsn: Lsn,
    ) -> Result<Self, WalStorageError> {
        let end = if commit_lsn.is_valid() {
            let end = scan::find_end_of_wal(&segments, major, commit_lsn)?;
            scan::make_durable(&segments, commit_lsn, end)?;
            end
        } else {
            Lsn::INVALID
        };
        Ok(Self {
            segments,
            major,
            write_lsn: end,
            write_record_lsn: end,
            flush_record_lsn: end,
            decoder: WalStreamDecoder::new(end, major),
            open: None,
            spare: None,
            needs_truncation: true,
            poisoned: None,
            effort: WalEffort::default(),
        })
    }

    /// Whether a segment is open for appending.
    pub fn has_open_segment(&self) -> bool {
        self.open.is_some()
    }

    /// What writing has cost so far.
    pub fn effort(&self) -> WalEffort {
        self.effort
    }

    /// Forgets the open segment and a spare one, so that their directory can go away.
    pub fn close(&mut self) {
        self.open = None;
        self.spare = None;
    }

    /// Writes the headers that precede `start` in its segment, before anything else is written.
    /// Readers may begin at the segment boundary and tools need headers there. Not durable:
    /// a restart before the first truncation begins anew.
    pub fn write_first_headers(
        &mut self,
        start: Lsn,
        system_id: u64,
    ) -> Result<(), WalStorageError> {
        self.check_usable()?;
        let _timer = metrics::wal_storage_timer("initialize_first_segment");
        let identity = WalIdentity { major: self.major, system_id };
        let image = segment_start_image(identity, start);
        let segment = self.segments.open_or_create(segno(start))?;
        let path = self.segments.path();
        segment.file.write_all_at(&image, 0).map_err(WalStorageError::io("initialise", path))
    }

    /// Appends bytes, which need not end at a record boundary.
    pub fn write(&mut self, start: Lsn, bytes: &[u8]) -> Result<(), WalStorageError> {
        self.check_usable()?;
        let write_lsn = self.write_lsn;
        if start < write_lsn {
            return Err(WalStorageError::Rewrite { write_lsn, start });
        }
        if start > write_lsn && write_lsn.is_valid() {
            return Err(WalStorageError::Gap { write_lsn, start });
        }
        if self.needs_truncation {
            return Err(WalStorageError::NotTruncated { write_lsn, start });
        }
        let started = Instant::now();
        self.append(start, bytes)?;
        let elapsed = started.elapsed();
        metrics::WRITE_WAL_SECONDS.observe(elapsed.as_secs_f64());
        self.effort.write_time += elapsed;
        self.effort.written_bytes += bytes.len() as u64;
        metrics::WRITE_WAL_BYTES.observe(bytes.len() as f64);
        self.advance_records(start, bytes)
    }

    fn append(&mut self, start: Lsn, bytes: &[u8]) -> Result<(), WalStorageError> {
        let mut position = start;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = SEGMENT_SIZE - position.segment_offset(SEGMENT_SIZE);
            let length = rest.len().min(room as usize);
            let (chunk, tail) = rest.split_at(length);
            self.append_within_segment(position, chunk)?;
            position = position + length as u64;
            self.write_lsn = position;
            rest = tail;
        }
        Ok(())
    }

    fn append_within_segment(&mut self, start: Lsn, chunk: &[u8]) -> Result<(), WalStorageError> {
        let segno = segno(start);
        let segment = match self.open.take_if(|open| open.segno == segno) {
            Some(segment) => segment,
            None => self.segments.open_or_take(segno, self.spare.take())?,
        };
        let offset = start.segment_offset(SEGMENT_SIZE);
        let path = self.segments.partial_path(segno);
        let written = segment.file.write_all_at(chunk, offset);
        if let Err(error) = written {
            // What was written before is in this file, and must still be flushed.
            self.open = Some(segment);
            return Err(WalStorageError::io("write", &path)(error));
        }
        let reached = offset + chunk.len() as u64;
        if reached == SEGMENT_SIZE {
            return self.finish_segment(&segment);
        }
        if reached >= SPARE_FROM && self.spare.is_none() {
            self.spare = Some(self.segments.prepare());
        }
        self.open = Some(segment);
        Ok(())
    }

    fn finish_segment(&mut self, segment: &OpenSegment) -> Result<(), WalStorageError> {
        let synced = self.sync_segment(segment);
        self.poison_on_failed_sync(synced)?;
        if segment.complete {
            return Ok(());
        }
        // After a crash a full segment may have its incomplete name still: that is mended then.
        self.segments.mark_complete_soon(segment.segno)
    }

    fn sync_segment(&mut self, segment: &OpenSegment) -> Result<(), WalStorageError> {
        let started = Instant::now();
        let path = self.segments.partial_path(segment.segno);
        let synced = segment.file.sync_data();
        let elapsed = started.elapsed();
        metrics::FLUSH_WAL_SECONDS.observe(elapsed.as_secs_f64());
        self.effort.sync_time += elapsed;
        synced.map_err(WalStorageError::sync(path))
    }

    /// Finds the record boundaries in what was just written.
    fn advance_records(&mut self, start: Lsn, bytes: &[u8]) -> Result<(), WalStorageError> {
        if self.decoder.lsn() != start {
            self.decoder = WalStreamDecoder::new(start, self.major);
        }
        self.decoder.feed_bytes(bytes);
        loop {
            match self.decoder.poll_decode() {
                Ok(Some((boundary, _record))) => self.write_record_lsn = boundary,
                Ok(None) => return Ok(()),
                Err(source) => return Err(WalStorageError::Decode { start, source }),
            }
        }
    }

    /// Makes every whole record written so far durable.
    pub fn flush(&mut self) -> Result<(), WalStorageError> {
        self.check_usable()?;
        if self.flush_record_lsn == self.write_record_lsn {
            return Ok(());
        }
        match self.open.take() {
            Some(segment) => {
                let synced = self.sync_segment(&segment);
                self.poison_on_failed_sync(synced)?;
                self.open = Some(segment);
            }
            // Full segments were synced as they filled.
            None if self.write_lsn.segment_offset(SEGMENT_SIZE) == 0 => {}
            None => return Err(WalStorageError::NoOpenSegment { write_lsn: self.write_lsn }),
        }
        self.flush_record_lsn = self.write_record_lsn;
        Ok(())
    }

    /// Cuts the WAL at `end`, durably, and leaves it ready for appending there.
    pub fn truncate(&mut self, end: Lsn) -> Result<(), WalStorageError> {
        self.check_usable()?;
        // A log switch may have put the record boundary beyond the bytes written; the zeros in
        // between are in the file.
        let reached = self.write_lsn.max(self.write_record_lsn);
        if self.write_lsn.is_valid() && end > reached {
            return Err(WalStorageError::TruncateBeyondEnd { end, write_lsn: self.write_lsn });
        }
        if !self.needs_truncation && end == self.write_lsn && end == self.flush_record_lsn {
            return Ok(());
        }
        let _timer = metrics::wal_storage_timer("truncate_wal");
        self.needs_truncation = true;
        let result = self.cut(end);
        self.poison_on_failed_sync(result)?;
        self.write_lsn = end;
        self.write_record_lsn = end;
        self.flush_record_lsn = end;
        self.decoder = WalStreamDecoder::new(end, self.major);
        self.needs_truncation = false;
        Ok(())
    }

    fn cut(&mut self, end: Lsn) -> Result<(), WalStorageError> {
        if let Some(segment) = self.open.take() {
            self.sync_segment(&segment)?;
        }
        let last = segno(end);
        self.segments.remove_above(last)?;
        let offset = end.segment_offset(SEGMENT_SIZE);
        let mut segment = self.segments.open_or_create(last)?;
        segment.zero_from(offset, &self.segments.partial_path(last))?;
        self.sync_segment(&segment)?;
        if segment.complete {
            self.segments.mark_partial(last)?;
            segment.complete = false;
        }
        if offset == 0 && last > 0 {
            self.segments.complete_leftover(last - 1)?;
        }
        self.open = Some(segment);
        Ok(())
    }

    fn check_usable(&self) -> Result<(), WalStorageError> {
        match &self.poisoned {
            Some(reason) => Err(WalStorageError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// After a failed sync the kernel may report success for pages it lost: never ask again.
    fn poison_on_failed_sync<T>(
        &mut self,
        result: Result<T, WalStorageError>,
    ) -> Result<T, WalStorageError> {
        if let Err(error @ WalStorageError::Sync { .. }) = &result {
            tracing::error!("WAL storage is poisoned: {error}");
            self.poisoned = Some(error.to_string());
        }
        result
    }
}

impl WalStorage for FileWalStorage {
    fn write_lsn(&self) -> Lsn {
        self.write_lsn
    }

    fn write_record_lsn(&self) -> Lsn {
        self.write_record_lsn
    }

    fn flush_record_lsn(&self) -> Lsn {
        self.flush_record_lsn
    }

    fn initialize_first_segment(
        &mut self,
        init_lsn: Lsn,
        server: &ServerInfo,
    ) -> Result<(), StorageError> {
        Ok(self.write_first_headers(init_lsn, server.system_id)?)
    }

    fn write_wal(&mut self, start: Lsn, wal: &[u8]) -> Result<(), StorageError> {
        Ok(self.write(start, wal)?)
    }

    fn truncate_wal(&mut self, end: Lsn) -> Result<(), StorageError> {
        Ok(self.truncate(end)?)
    }

    fn flush_wal(&mut self) -> Result<(), StorageError> {
        Ok(self.flush()?)
    }
}

#[cfg(test)]
mod tests;
