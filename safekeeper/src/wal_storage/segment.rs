//! WAL segment files of one timeline: their names, creation, renaming and removal.
//!
//! A segment is `NAME.partial` while WAL is appended to it and `NAME` once it is full. Either
//! way the file has its full length from the start and zeros after its last byte of WAL: later
//! appends change no metadata, and zeros read as "end of WAL". Knows nothing of records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use postgres_ffi::xlog::segment::{
    parse_segment_file_name, partial_segment_file_name, segment_file_name,
};

use super::{SEGMENT_SIZE, WalStorageError};
use crate::durability::Durability;

/// A segment under construction.
const TEMPORARY_NAME: &str = "waltmp";
/// A segment being brought back from object storage.
const RESTORED_NAME: &str = "remote_partial.tmp";
/// Zeros are written in pieces of this many bytes.
const ZERO_CHUNK_BYTES: usize = 256 * 1024;

/// The directory that holds a timeline's segments.
#[derive(Clone, Debug)]
pub struct SegmentDir {
    path: Utf8PathBuf,
    durability: Durability,
}

/// A segment opened for writing.
#[derive(Debug)]
pub struct OpenSegment {
    /// Its number.
    pub segno: u64,
    /// The open file, [`SEGMENT_SIZE`] long.
    pub file: File,
    /// Whether it carries the complete name already.
    pub complete: bool,
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
        Self { path: path.into(), durability }
    }

    /// The directory itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// How writes are forced to disk here.
    pub fn durability(&self) -> Durability {
        self.durability
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
    pub fn open_for_read(&self, segno: u64) -> Result<Option<File>, WalStorageError> {
        for path in [self.partial_path(segno), self.complete_path(segno)] {
            if let Some(file) = open_existing(&path, OpenOptions::new().read(true))? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Opens a segment for writing, the complete one if both names exist; `None` if neither does.
    pub fn open_for_write(&self, segno: u64) -> Result<Option<OpenSegment>, WalStorageError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        for (path, complete) in
            [(self.complete_path(segno), true), (self.partial_path(segno), false)]
        {
            if let Some(file) = open_existing(&path, &options)? {
                return Ok(Some(OpenSegment { segno, file, complete }));
            }
        }
        Ok(None)
    }

    /// Opens a segment for writing and creates it, full of zeros, if it does not exist.
    pub fn open_or_create(&self, segno: u64) -> Result<OpenSegment, WalStorageError> {
        match self.open_for_write(segno)? {
            Some(segment) => Ok(segment),
            None => self.create(segno),
        }
    }

    /// Creates the incomplete segment durably: a half-made file never carries a segment's name.
    fn create(&self, segno: u64) -> Result<OpenSegment, WalStorageError> {
        let temporary = self.path.join(TEMPORARY_NAME);
        let target = self.partial_path(segno);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(WalStorageError::io("create", &temporary))?;
        let result = self.fill_and_rename(&file, &temporary, &target);
        if let Err(error) = result {
            // The name must not survive: what it holds may not be on disk.
            remove_if_exists(&temporary)?;
            remove_if_exists(&target)?;
            return Err(error);
        }
        Ok(OpenSegment { segno, file, complete: false })
    }

    fn fill_and_rename(
        &self,
        file: &File,
        temporary: &Utf8Path,
        target: &Utf8Path,
    ) -> Result<(), WalStorageError> {
        write_zeros(file, temporary, 0)?;
        self.durability.sync_all(file).map_err(WalStorageError::sync(temporary))?;
        self.rename(temporary, target)
    }

    /// Puts an incomplete segment that begins with `content` in place, durably.
    pub fn restore(&self, segno: u64, content: &[u8]) -> Result<(), WalStorageError> {
        let temporary = self.path.join(RESTORED_NAME);
        let restored = self.fill_restored(&temporary, content);
        let renamed = restored.and_then(|()| self.rename(&temporary, &self.partial_path(segno)));
        if renamed.is_err() {
            remove_if_exists(&temporary)?;
        }
        renamed
    }

    fn fill_restored(&self, temporary: &Utf8Path, content: &[u8]) -> Result<(), WalStorageError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let file = options.open(temporary).map_err(WalStorageError::io("create", temporary))?;
        file.write_all_at(content, 0).map_err(WalStorageError::io("write", temporary))?;
        fill_with_zeros(&file, content.len() as u64)
            .map_err(WalStorageError::io("zero", temporary))?;
        self.durability.sync_all(&file).map_err(WalStorageError::sync(temporary))
    }

    /// Gives a full segment its complete name. Its bytes must be durable already.
    pub fn mark_complete(&self, segno: u64) -> Result<(), WalStorageError> {
        self.rename(&self.partial_path(segno), &self.complete_path(segno))
    }

    /// Takes the complete name from a segment that was cut.
    pub fn mark_partial(&self, segno: u64) -> Result<(), WalStorageError> {
        self.rename(&self.complete_path(segno), &self.partial_path(segno))
    }

    /// Completes a segment that is full but still named incomplete, if there is such a one.
    pub fn complete_leftover(&self, segno: u64) -> Result<(), WalStorageError> {
        let partial = self.partial_path(segno);
        let Some(file) = open_existing(&partial, OpenOptions::new().read(true).write(true))? else {
            return Ok(());
        };
        self.durability.sync_data(&file).map_err(WalStorageError::sync(&partial))?;
        self.mark_complete(segno)
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> Result<(), WalStorageError> {
        fs::rename(from, to).map_err(WalStorageError::io("rename", from))?;
        self.durability.sync_dir(&self.path).map_err(WalStorageError::sync(&self.path))
    }

    /// Every segment, in order of number.
    pub fn list(&self) -> Result<Vec<SegmentEntry>, WalStorageError> {
        let failed = || WalStorageError::io("list", &self.path);
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            segments.extend(name.to_str().and_then(parse_entry));
        }
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
            remove_if_exists(&path)?;
        }
        if !doomed.is_empty() {
            self.durability.sync_dir(&self.path).map_err(WalStorageError::sync(&self.path))?;
        }
        Ok(doomed.len() as u64)
    }
}

impl OpenSegment {
    /// Writes zeros from `offset` to the end of the segment.
    pub fn zero_from(&self, offset: u64, path: &Utf8Path) -> Result<(), WalStorageError> {
        write_zeros(&self.file, path, offset)
    }
}

fn parse_entry(name: &str) -> Option<SegmentEntry> {
    let (segno, partial) = parse_segment_file_name(name)?;
    Some(SegmentEntry { segno, complete: !partial })
}

fn open_existing(path: &Utf8Path, options: &OpenOptions) -> Result<Option<File>, WalStorageError> {
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WalStorageError::io("open", path)(error)),
    }
}

fn remove_if_exists(path: &Utf8Path) -> Result<(), WalStorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(WalStorageError::io("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_zeros(file: &File, path: &Utf8Path, from: u64) -> Result<(), WalStorageError> {
    fail::fail_point!("sk-write-zeroes", |_| {
        tracing::info!("write_zeroes hit failpoint");
        Err(WalStorageError::Failpoint("sk-write-zeroes"))
    });
    fill_with_zeros(file, from).map_err(WalStorageError::io("zero", path))
}

fn fill_with_zeros(file: &File, from: u64) -> io::Result<()> {
    let zeros = vec![0u8; ZERO_CHUNK_BYTES];
    let mut offset = from;
    while offset < SEGMENT_SIZE {
        let length = (SEGMENT_SIZE - offset).min(zeros.len() as u64);
        let chunk = zeros.get(..length as usize).unwrap_or(&zeros);
        file.write_all_at(chunk, offset)?;
        offset += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
