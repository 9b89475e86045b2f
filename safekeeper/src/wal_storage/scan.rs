//! Finding the end of WAL after a restart.
//!
//! The scan begins at the persisted commit position, a known record boundary, and decodes until
//! something is not a record: a missing file, a short one, a bad header, length or checksum.
//! It must accept whatever any earlier version wrote, for ever: stopping early loses data.

use postgres_ffi::PgMajor;
use utils::Lsn;
use wal_decoder::stream::WalStreamDecoder;

use super::{SEGMENT_SIZE, SegmentDir, WalStorageError, segno};
use crate::files::DiskFile;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// The last record boundary at or after `start` that the files hold; `start` itself when no
/// record follows it.
pub fn find_end_of_wal(
    segments: &SegmentDir,
    major: PgMajor,
    start: Lsn,
) -> Result<Lsn, WalStorageError> {
    let mut decoder = WalStreamDecoder::new(start, major);
    let mut end = start;
    let mut chunk = vec![0u8; CHUNK_BYTES];
    let mut current: Option<(u64, Box<dyn DiskFile>)> = None;
    loop {
        let position = decoder.lsn();
        let wanted = segno(position);
        let file = match current.take().filter(|(open, _)| *open == wanted) {
            Some((_, file)) => file,
            None => match segments.open_for_read(wanted)? {
                Some(file) => file,
                None => return Ok(end),
            },
        };
        let count = read_within_segment(segments, file.as_ref(), position, &mut chunk)?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(end);
        };
        decoder.feed_bytes(bytes);
        loop {
            match decoder.poll_decode() {
                Ok(Some((boundary, _record))) => end = boundary,
                Ok(None) => break,
                Err(error) => {
                    tracing::info!("end of WAL found at {end}: {error}");
                    return Ok(end);
                }
            }
        }
        current = Some((wanted, file));
    }
}

fn read_within_segment(
    segments: &SegmentDir,
    file: &dyn DiskFile,
    position: Lsn,
    buffer: &mut [u8],
) -> Result<usize, WalStorageError> {
    let offset = position.segment_offset(SEGMENT_SIZE);
    let length = buffer.len().min((SEGMENT_SIZE - offset) as usize);
    let window = buffer.get_mut(..length).unwrap_or_default();
    file.read_at(window, offset).map_err(WalStorageError::io("read", segments.path()))
}

/// Forces to disk every segment that holds WAL from `start` to `end`, and their names, and gives
/// a segment that `end` closes its complete name.
pub fn make_durable(segments: &SegmentDir, start: Lsn, end: Lsn) -> Result<(), WalStorageError> {
    for segno in segno(start)..=segno(end) {
        if let Some(file) = segments.open_for_read(segno)? {
            let path = segments.path();
            file.sync_data().map_err(WalStorageError::sync(path))?;
        }
    }
    segments.files().sync_dir(segments.path()).map_err(WalStorageError::sync(segments.path()))?;
    if end.segment_offset(SEGMENT_SIZE) == 0
        && let Some(before) = segno(end).checked_sub(1)
    {
        segments.complete_leftover(before)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
