//! Reads the segments of a `pg_wal` directory in order and feeds their records to the checker.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;
use wal_decoder::WalStreamDecoder;
use wal_decoder::record::decode;
use wal_redo::consistency::Checker;

/// Length of a segment's file name: timeline and segment number.
const SEGMENT_NAME_LENGTH: usize = 24;

/// Replays every record from the oldest segment to the end of the log. Returns also where that is.
/// `progress` is told before each segment how many are done and how many there are.
pub fn check(
    directory: &Path,
    major: PgMajor,
    progress: impl Fn(usize, usize),
) -> Result<(Checker, Lsn)> {
    let segments = segment_files(directory)?;
    let (first, _) = segments.first().context("the directory has no WAL segments")?;
    let mut stream = WalStreamDecoder::new(Lsn(first * WAL_SEGMENT_SIZE as u64), major);
    let mut checker = Checker::new(major);
    let mut reached = Lsn::INVALID;
    for (expected, (number, path)) in (*first..).zip(&segments) {
        if *number != expected {
            break;
        }
        stream.feed_bytes(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
        progress((number - first) as usize, segments.len());
        loop {
            match stream.poll_decode() {
                Ok(Some((end_lsn, raw))) => {
                    checker.check(&decode(&raw, major)?, end_lsn);
                    reached = end_lsn;
                }
                Ok(None) => break,
                // The log ends where the bytes stop making sense: the rest of the segment is
                // zeroes or left over from an earlier use of the file.
                Err(end) => {
                    println!("end of WAL: {end}");
                    return Ok((checker, reached));
                }
            }
        }
    }
    Ok((checker, reached))
}

/// Segment numbers and files of the directory, ascending.
fn segment_files(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.len() == SEGMENT_NAME_LENGTH && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            let high = u64::from_str_radix(&name[8..16], 16)?;
            let low = u64::from_str_radix(&name[16..], 16)?;
            let segments_per_id = 0x1_0000_0000 / WAL_SEGMENT_SIZE as u64;
            segments.push((high * segments_per_id + low, path));
        }
    }
    segments.sort();
    Ok(segments)
}
