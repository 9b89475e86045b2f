//! Finds where the WAL in a directory of segment files ends.
//!
//! Reads files and decodes records; judges nothing by file length, because segments are
//! pre-filled with zeros and may hold garbage from before.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use postgres_ffi::xlog::segment::{partial_segment_file_name, segment_file_name};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;

use crate::stream::{WalDecodeError, WalStreamDecoder};

const READ_SIZE: usize = 128 * 1024;

/// Where decoding stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfWal {
    /// End of the last whole record, or the start position if there is none.
    pub lsn: Lsn,
    /// What ended it: `None` when the files did.
    pub reason: Option<WalDecodeError>,
}

/// A segment file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading WAL segment {path}: {source}")]
pub struct EndOfWalError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: std::io::Error,
}

/// Decodes the segments in `directory` from `start`, a record boundary, until they end or a
/// record is not valid. Of an unfinished and a finished file of one segment the unfinished one
/// is read.
pub fn find_end_of_wal(
    directory: &Path,
    start: Lsn,
    major: PgMajor,
) -> Result<EndOfWal, EndOfWalError> {
    let mut decoder = WalStreamDecoder::new(start, major);
    let mut end = EndOfWal { lsn: start, reason: None };
    let mut segment = start.segment_number(WAL_SEGMENT_SIZE as u64);
    let mut buffer = vec![0; READ_SIZE];
    while let Some((mut file, path)) = open_segment(directory, segment)? {
        let error = |source| EndOfWalError { path: path.clone(), source };
        let offset = decoder.lsn().segment_offset(WAL_SEGMENT_SIZE as u64);
        file.seek(SeekFrom::Start(offset)).map_err(error)?;
        let mut left = WAL_SEGMENT_SIZE - offset as usize;
        while left > 0 {
            let length = file.read(&mut buffer).map_err(error)?;
            if length == 0 {
                return Ok(end);
            }
            let length = length.min(left);
            left -= length;
            decoder.feed_bytes(buffer.get(..length).unwrap_or_default());
            if !drain(&mut decoder, &mut end) {
                return Ok(end);
            }
        }
        segment += 1;
    }
    Ok(end)
}

/// Moves the end over every record that is complete; false once the stream is not valid.
fn drain(decoder: &mut WalStreamDecoder, end: &mut EndOfWal) -> bool {
    loop {
        match decoder.poll_decode() {
            Ok(Some((lsn, _))) => end.lsn = lsn,
            Ok(None) => return true,
            Err(reason) => {
                end.reason = Some(reason);
                return false;
            }
        }
    }
}

fn open_segment(directory: &Path, segment: u64) -> Result<Option<(File, PathBuf)>, EndOfWalError> {
    for name in [partial_segment_file_name(segment), segment_file_name(segment)] {
        let path = directory.join(name);
        match File::open(&path) {
            Ok(file) => return Ok(Some((file, path))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(EndOfWalError { path, source }),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
