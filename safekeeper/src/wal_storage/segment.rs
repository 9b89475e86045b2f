//! WAL segment files of one timeline: their names, creation, renaming and removal.
//!
//! A segment is `NAME.partial` while WAL is appended to it and `NAME` once it is full. Either
//! way the file has its full length from the start and zeros after its last byte of WAL: later
//! appends change no metadata, and zeros read as "end of WAL". Knows nothing of records.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use postgres_ffi::xlog::segment::{
    parse_segment_file_name, partial_segment_file_name, segment_file_name,
};

use super::{SEGMENT_SIZE, WalStorageError};
use crate::durability::Durability;
use crate::files::{self, Access, DiskFile, Files, PendingFile};

/// A segment under construction.
const TEMPORARY_NAME: &str = "waltmp";
/// A segment being brought back from object storage.
const RESTORED_NAME: &str = "remote_partial.tmp";

/// The directory that holds a timeline's segments.
#[derive(Clone, Debug)]
pub struct SegmentDir {
    path: Utf8PathBuf,
    files: Files,
}

/// A segment opened for writing.
#[derive(Debug)]
pub struct OpenSegment {
    /// Its number.
    pub segno: u64,
    /// The open file, [`SEGMENT_SIZE`] long.
    pub file: Box<dyn DiskFile>,
    /// Whether it carries the complete name already.
    pub complete: bool,
}

/// A file that becomes a segment when one is needed. It goes away if none is.
#[derive(Debug)]
pub struct SpareSegment {
    path: Utf8PathBuf,
    files: Files,
    /// Until it is taken.
    pending: Option<PendingFile>,
}

/// A segment found in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentEntry {
    /// Its number.
    pub segno: u64,
    /// Whether it carries the complete name.
    pub complete: bool,
}

impl SegmentDir {
    /// Segments live directly in `path`.
    pub fn new(path: impl Into<Utf8PathBuf>, durability: Durability) -> Self {
        Self::on(files::local(durability), path)
    }

    /// Segments in `path` on this file system.
    pub fn on(files: Files, path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), files }
    }

    /// The directory itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The file system it is on.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Where the complete segment is kept.
    pub fn complete_path(&self, segno: u64) -> Utf8PathBuf {
        self.path.join(segment_file_name(segno))
    }

    /// Where the incomplete segment is kept.
    pub fn partial_path(&self, segno: u64) -> Utf8PathBuf {
        self.path.join(partial_segment_file_name(segno))
    }

    /// Opens a segment for reading, the incomplete one if both names exist; `None` if neither does.
    pub fn open_for_read(&self, segno: u64) -> Result<Option<Box<dyn DiskFile>>, WalStorageError> {
        for path in [self.partial_path(segno), self.complete_path(segno)] {
            if let Some(file) = self.open_existing(&path, Access::Read)? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The same as a file of the operating system, to be handed on.
    pub fn open_local(&self, segno: u64) -> Result<Option<File>, WalStorageError> {
        for path in [self.partial_path(segno), self.complete_path(segno)] {
            match File::open(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(WalStorageError::io("open", &path)(error)),
            }
        }
        Ok(None)
    }

    /// Opens a segment for writing, the complete one if both names exist; `None` if neither does.
    pub fn open_for_write(&self, segno: u64) -> Result<Option<OpenSegment>, WalStorageError> {
        for (path, complete) in
            [(self.complete_path(segno), true), (self.partial_path(segno), false)]
        {
            if let Some(file) = self.open_existing(&path, Access::Write)? {
                return Ok(Some(OpenSegment { segno, file, complete }));
            }
        }
        Ok(None)
    }

    /// Begins to make the file of a segment that will be needed soon.
    pub fn prepare(&self) -> SpareSegment {
        let pending = self.files.begin_zeros(&self.path.join(TEMPORARY_NAME), SEGMENT_SIZE);
        SpareSegment::new(self, pending)
    }

    /// Opens a segment for writing and creates it, full of zeros, if it does not exist.
    pub fn open_or_create(&self, segno: u64) -> Result<OpenSegment, WalStorageError> {
        self.open_or_take(segno, None)
    }

    /// The same; a file that was prepared for it is taken if one has to be created.
    pub fn open_or_take(
        &self,
        segno: u64,
        spare: Option<SpareSegment>,
    ) -> Result<OpenSegment, WalStorageError> {
        if let Some(segment) = self.open_for_write(segno)? {
            return Ok(segment);
        }
        let temporary = self.path.join(TEMPORARY_NAME);
        let prepared = spare.and_then(SpareSegment::into_file);
        let made = prepared.map_or_else(|| self.make(&temporary), Ok);
        let target = self.partial_path(segno);
        // Only a whole file carries a segment's name.
        let named = made.and_then(|file| self.rename(&temporary, &target).map(|()| file));
        match named {
            Ok(file) => Ok(OpenSegment { segno, file, complete: false }),
            Err(error) => {
                // The name must not survive: what it holds may not be on disk.
                self.remove_if_exists(&temporary)?;
                self.remove_if_exists(&target)?;
                Err(error)
            }
        }
    }

    fn make(&self, temporary: &Utf8Path) -> Result<Box<dyn DiskFile>, WalStorageError> {
        let file = self
            .files
            .open(temporary, Access::Create)
            .map_err(WalStorageError::io("create", temporary))?;
        write_zeros(file.as_ref(), temporary, 0)?;
        file.sync_all().map_err(WalStorageError::sync(temporary))?;
        Ok(file)
    }

    /// Puts an incomplete segment that begins with `content` in place, durably.
    pub fn restore(&self, segno: u64, content: &[u8]) -> Result<(), WalStorageError> {
        let temporary = self.path.join(RESTORED_NAME);
        let restored = self.fill_restored(&temporary, content);
        let renamed = restored.and_then(|()| self.rename(&temporary, &self.partial_path(segno)));
        if renamed.is_err() {
            self.remove_if_exists(&temporary)?;
        }
        renamed
    }

    fn fill_restored(&self, temporary: &Utf8Path, content: &[u8]) -> Result<(), WalStorageError> {
        let file = self
            .files
            .open(temporary, Access::Create)
            .map_err(WalStorageError::io("create", temporary))?;
        file.write_all_at(content, 0).map_err(WalStorageError::io("write", temporary))?;
        file.write_zeros(content.len() as u64..SEGMENT_SIZE)
            .map_err(WalStorageError::io("zero", temporary))?;
        file.sync_all().map_err(WalStorageError::sync(temporary))
    }

    /// Gives a full segment its complete name. Its bytes must be durable already.
    pub fn mark_complete(&self, segno: u64) -> Result<(), WalStorageError> {
        self.rename(&self.partial_path(segno), &self.complete_path(segno))
    }

    /// The same, but a crash may bring the incomplete name back, until a later segment has a name.
    pub fn mark_complete_soon(&self, segno: u64) -> Result<(), WalStorageError> {
        let (from, to) = (self.partial_path(segno), self.complete_path(segno));
        self.files.rename(&from, &to).map_err(WalStorageError::io("rename", &from))
    }

    /// Takes the complete name from a segment that was cut.
    pub fn mark_partial(&self, segno: u64) -> Result<(), WalStorageError> {
        self.rename(&self.complete_path(segno), &self.partial_path(segno))
    }

    /// Completes a segment that is full but still named incomplete, if there is such a one.
    pub fn complete_leftover(&self, segno: u64) -> Result<(), WalStorageError> {
        let partial = self.partial_path(segno);
        let Some(file) = self.open_existing(&partial, Access::Write)? else {
            return Ok(());
        };
        file.sync_data().map_err(WalStorageError::sync(&partial))?;
        self.mark_complete(segno)
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> Result<(), WalStorageError> {
        self.files.rename(from, to).map_err(WalStorageError::io("rename", from))?;
        self.files.sync_dir(&self.path).map_err(WalStorageError::sync(&self.path))
    }

    /// Every segment, in order of number.
    pub fn list(&self) -> Result<Vec<SegmentEntry>, WalStorageError> {
        let names = self.files.list(&self.path).map_err(WalStorageError::io("list", &self.path))?;
        let mut segments: Vec<_> = names.iter().filter_map(|name| parse_entry(name)).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// Removes every segment with a number above `segno`, the highest first, so that a crash in
    /// between leaves no hole that newer WAL could later bridge to older.
    pub fn remove_above(&self, segno: u64) -> Result<u64, WalStorageError> {
        let mut doomed = self.list()?;
        doomed.retain(|entry| entry.segno > segno);
        doomed.reverse();
        self.remove(&doomed)
    }

    /// Removes every segment with a number of at most `segno`, the lowest first.
    pub fn remove_up_to(&self, segno: u64) -> Result<u64, WalStorageError> {
        let mut doomed = self.list()?;
        doomed.retain(|entry| entry.segno <= segno);
        self.remove(&doomed)
    }

    fn remove(&self, doomed: &[SegmentEntry]) -> Result<u64, WalStorageError> {
        for entry in doomed {
            let path = if entry.complete {
                self.complete_path(entry.segno)
            } else {
                self.partial_path(entry.segno)
            };
            self.remove_if_exists(&path)?;
        }
        if !doomed.is_empty() {
            self.files.sync_dir(&self.path).map_err(WalStorageError::sync(&self.path))?;
        }
        Ok(doomed.len() as u64)
    }

    fn open_existing(
        &self,
        path: &Utf8Path,
        access: Access,
    ) -> Result<Option<Box<dyn DiskFile>>, WalStorageError> {
        match self.files.open(path, access) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WalStorageError::io("open", path)(error)),
        }
    }

    fn remove_if_exists(&self, path: &Utf8Path) -> Result<(), WalStorageError> {
        match self.files.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(WalStorageError::io("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl SpareSegment {
    pub(super) fn new(segments: &SegmentDir, pending: PendingFile) -> Self {
        let path = segments.path.join(TEMPORARY_NAME);
        Self { path, files: Arc::clone(&segments.files), pending: Some(pending) }
    }

    /// Waits until the file is there; `None` if it could not be made.
    pub(super) fn into_file(mut self) -> Option<Box<dyn DiskFile>> {
        let made = self.pending.take()?.wait();
        made.inspect_err(|error| {
            // The next attempt reports it to those who need the segment.
            tracing::info!("no segment could be prepared at {}: {error}", self.path);
        })
        .ok()
    }
}

impl Drop for SpareSegment {
    /// Waits for the file too: whoever makes the next one under its name must be alone with it.
    fn drop(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        if pending.wait().is_ok()
            && let Err(error) = self.files.remove(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("the unused segment {} stays: {error}", self.path);
        }
    }
}

impl OpenSegment {
    /// Writes zeros from `offset` to the end of the segment.
    pub fn zero_from(&self, offset: u64, path: &Utf8Path) -> Result<(), WalStorageError> {
        write_zeros(self.file.as_ref(), path, offset)
    }
}

fn parse_entry(name: &str) -> Option<SegmentEntry> {
    let (segno, partial) = parse_segment_file_name(name)?;
    Some(SegmentEntry { segno, complete: !partial })
}

fn write_zeros(file: &dyn DiskFile, path: &Utf8Path, from: u64) -> Result<(), WalStorageError> {
    fail::fail_point!("sk-write-zeroes", |_| {
        tracing::info!("write_zeroes hit failpoint");
        Err(WalStorageError::Failpoint("sk-write-zeroes"))
    });
    file.write_zeros(from..SEGMENT_SIZE).map_err(WalStorageError::io("zero", path))
}

#[cfg(test)]
mod tests;
