//! Logical sizes of timelines at an LSN, kept over restarts in a file of the working directory.
//!
//! A timeline's content at an LSN never changes, so a size that was known there once need not be
//! computed again from all relations when the timeline is loaded at that LSN. Losing the file costs
//! these computations and nothing else, so a file that cannot be read counts as none.
//!
//! The file is text: a line `<tenant shard> <timeline> <LSN> <bytes>` for each timeline, and
//! at the end `crc32c <checksum of the lines above, in hexadecimal>`.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use pageserver_api::shard::TenantShardId;
use tracing::{info, warn};
use utils::fs_ext::{self, FsError};
use utils::{Lsn, TimelineId};

const CHECKSUM_LABEL: &str = "crc32c ";

/// The size of one timeline at one LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeAt {
    lsn: Lsn,
    bytes: u64,
}

type Sizes = HashMap<(TenantShardId, TimelineId), SizeAt>;

/// What is known, by timeline: the size at the newest LSN it was told.
#[derive(Debug)]
pub struct SizeLedger {
    path: Utf8PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sizes: Sizes,
    /// Whether the file lacks something.
    changed: bool,
}

/// Why a file does not count.
#[derive(Debug, thiserror::Error)]
enum UnreadableFile {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("its last line is not '{CHECKSUM_LABEL}' and eight hexadecimal digits")]
    NoChecksum,
    #[error("its checksum is {stored:08x}, of its content {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("line {0} is not a tenant, a timeline, an LSN and a number of bytes")]
    Line(usize),
}

impl SizeLedger {
    /// Reads the file, if there is one that can be read.
    pub fn open(path: Utf8PathBuf) -> SizeLedger {
        let read = std::fs::read_to_string(&path);
        let sizes = match read.map_err(UnreadableFile::Io).and_then(|text| parse(&text)) {
            Ok(sizes) => sizes,
            Err(UnreadableFile::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Sizes::default()
            }
            Err(reason) => {
                warn!("sizes of databases are computed again: {path} is of no use, as {reason}");
                Sizes::default()
            }
        };
        SizeLedger { path, state: Mutex::new(State { sizes, changed: false }) }
    }

    /// The size in bytes, if it is known at exactly that LSN.
    pub fn get(&self, shard: TenantShardId, timeline: TimelineId, lsn: Lsn) -> Option<u64> {
        let known = self.state().sizes.get(&(shard, timeline)).copied();
        known.filter(|known| known.lsn == lsn).map(|known| known.bytes)
    }

    /// Notes a size in bytes, unless one at a newer LSN is known.
    pub fn set(&self, shard: TenantShardId, timeline: TimelineId, lsn: Lsn, bytes: u64) {
        let mut state = self.state();
        let new = SizeAt { lsn, bytes };
        let old = state.sizes.get(&(shard, timeline)).copied();
        if old.is_none_or(|old| old.lsn <= lsn && old != new) {
            state.sizes.insert((shard, timeline), new);
            state.changed = true;
        }
    }

    /// Forgets a timeline: its id may stand for another content from now on.
    pub fn forget(&self, shard: TenantShardId, timeline: TimelineId) {
        let mut state = self.state();
        state.changed |= state.sizes.remove(&(shard, timeline)).is_some();
    }

    /// Forgets the timelines of all tenants but those for which `keep` is true.
    pub fn retain_tenants(&self, keep: impl Fn(&TenantShardId) -> bool) {
        let mut state = self.state();
        let before = state.sizes.len();
        state.sizes.retain(|(shard, _), _| keep(shard));
        state.changed |= state.sizes.len() < before;
    }

    /// Writes the file if it lacks something. Blocks.
    pub fn save(&self) -> Result<(), FsError> {
        let text = {
            let mut state = self.state();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            format(&state.sizes)
        };
        let saved = fs_ext::write_crash_safe(self.path.as_std_path(), text.as_bytes());
        match &saved {
            Ok(()) => info!("wrote the sizes of timelines to {}", self.path),
            Err(_) => self.state().changed = true,
        }
        saved
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn format(sizes: &Sizes) -> String {
    let mut text = String::new();
    for ((shard, timeline), SizeAt { lsn, bytes }) in sizes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{shard} {timeline} {lsn} {bytes}");
    }
    let checksum = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "{CHECKSUM_LABEL}{checksum:08x}");
    text
}

fn parse(text: &str) -> Result<Sizes, UnreadableFile> {
    let (lines, last) = text.rsplit_once(CHECKSUM_LABEL).ok_or(UnreadableFile::NoChecksum)?;
    let stored = last.strip_suffix('\n').and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let stored = stored.ok_or(UnreadableFile::NoChecksum)?;
    let computed = crc32c::crc32c(lines.as_bytes());
    if stored != computed {
        return Err(UnreadableFile::Checksum { stored, computed });
    }
    let parsed = lines.lines().enumerate();
    parsed.map(|(at, line)| parse_line(line).ok_or(UnreadableFile::Line(at + 1))).collect()
}

fn parse_line(line: &str) -> Option<((TenantShardId, TimelineId), SizeAt)> {
    let mut words = line.split(' ');
    let shard = words.next()?.parse().ok()?;
    let timeline = words.next()?.parse().ok()?;
    let lsn = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    words.next().is_none().then_some(((shard, timeline), SizeAt { lsn, bytes }))
}

#[cfg(test)]
mod tests;
