//! `global/pg_control`: the cluster's identity, state and last checkpoint.
//!
//! Versions 1300 (PostgreSQL 15, 16), 1700 and 1800 are understood. The offsets of everything
//! this system reads or edits are the same in all of them; only the place of the CRC differs.
//! The rest of the file is kept as it is.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use utils::Lsn;

use crate::checkpoint::{CHECKPOINT_SIZE, CheckPoint};
use crate::reader::{LeReader, TooShort};
use crate::version::PgMajor;

/// Length of the file in bytes.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// State of a cluster that was shut down cleanly.
pub const DB_SHUTDOWNED: u32 = 1;
/// State of a standby that was shut down cleanly.
pub const DB_SHUTDOWNED_IN_RECOVERY: u32 = 2;
/// The unlogged-relation LSN that a fresh cluster starts with.
const FIRST_UNLOGGED_LSN: u64 = 1000;

const SYSTEM_IDENTIFIER: usize = 0;
const PG_CONTROL_VERSION: usize = 8;
const CATALOG_VERSION: usize = 12;
const STATE: usize = 16;
const TIME: usize = 24;
const CHECKPOINT_LSN: usize = 32;
const CHECKPOINT_COPY: usize = 40;
const UNLOGGED_LSN: usize = 128;
const MIN_RECOVERY_POINT: usize = 136;
const MIN_RECOVERY_POINT_TLI: usize = 144;
const BACKUP_START: usize = 152;
const WAL_LEVEL: usize = 172;
const MAX_CONNECTIONS: usize = 180;
const MAX_WORKER_PROCESSES: usize = 184;
const MAX_WAL_SENDERS: usize = 188;
const MAX_PREPARED_XACTS: usize = 192;
const MAX_LOCKS_PER_XACT: usize = 196;
const TRACK_COMMIT_TIMESTAMP: usize = 200;
const XLOG_SEG_SIZE: usize = 228;
const DATA_CHECKSUM_VERSION: usize = 252;

/// Why bytes are not a usable control file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ControlFileError {
    /// The file is too short.
    #[error("pg_control is truncated: {0}")]
    Truncated(#[from] TooShort),
    /// The layout is not known.
    #[error("pg_control has version {0}; PostgreSQL 15 to 18 write 1300, 1700 or 1800")]
    UnknownVersion(u32),
    /// The contents are damaged.
    #[error("pg_control has CRC {stored:08X} but its contents give {computed:08X}: it is damaged")]
    BadCrc {
        /// CRC found in the file.
        stored: u32,
        /// CRC of what the file contains.
        computed: u32,
    },
}

/// A control file held in memory, read and edited in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    image: Vec<u8>,
    crc_offset: usize,
}

impl ControlFile {
    /// Checks version and CRC. Bytes beyond 8192 are ignored, missing ones count as zero.
    pub fn parse(bytes: &[u8]) -> Result<ControlFile, ControlFileError> {
        let mut head = LeReader::new(bytes);
        head.skip(PG_CONTROL_VERSION, "system identifier")?;
        let crc_offset = match head.u32("version")? {
            1300 | 1700 => 288,
            1800 => 292,
            unknown => return Err(ControlFileError::UnknownVersion(unknown)),
        };
        let mut reader = LeReader::new(bytes);
        let computed = crc32c::crc32c(reader.bytes(crc_offset, "control data")?);
        let stored = reader.u32("CRC")?;
        if stored != computed {
            return Err(ControlFileError::BadCrc { stored, computed });
        }
        let mut image = bytes.to_vec();
        image.resize(CONTROL_FILE_SIZE, 0);
        Ok(ControlFile { image, crc_offset })
    }

    /// The file's bytes with a fresh CRC, zero-padded to 8192.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut image = self.image.clone();
        let crc = crc32c::crc32c(self.image.get(..self.crc_offset).unwrap_or_default());
        write(&mut image, self.crc_offset, &crc.to_le_bytes());
        image
    }

    /// The cluster's unique number, which WAL page headers repeat.
    pub fn system_identifier(&self) -> u64 {
        u64::from_le_bytes(self.read(SYSTEM_IDENTIFIER))
    }

    /// 1300, 1700 or 1800.
    pub fn pg_control_version(&self) -> u32 {
        u32::from_le_bytes(self.read(PG_CONTROL_VERSION))
    }

    /// The version of the system catalogs.
    pub fn catalog_version(&self) -> u32 {
        u32::from_le_bytes(self.read(CATALOG_VERSION))
    }

    /// The majors whose control files have this version. 15 and 16 share one; the catalog
    /// version tells them apart (16 was branched in 2022 after 15's catalogs were frozen).
    pub fn major(&self) -> PgMajor {
        const FIRST_CATALOG_VERSION_OF_16: u32 = 202_210_000;
        match self.pg_control_version() {
            1700 => PgMajor::V17,
            1800 => PgMajor::V18,
            _ if self.catalog_version() >= FIRST_CATALOG_VERSION_OF_16 => PgMajor::V16,
            _ => PgMajor::V15,
        }
    }

    /// `DBState` as a number; see [`DB_SHUTDOWNED`].
    pub fn state(&self) -> u32 {
        u32::from_le_bytes(self.read(STATE))
    }

    /// Sets `DBState`.
    pub fn set_state(&mut self, state: u32) {
        write(&mut self.image, STATE, &state.to_le_bytes());
    }

    /// Unix time of the last update.
    pub fn time(&self) -> i64 {
        i64::from_le_bytes(self.read(TIME))
    }

    /// Sets the time of the last update.
    pub fn set_time(&mut self, unix_seconds: i64) {
        write(&mut self.image, TIME, &unix_seconds.to_le_bytes());
    }

    /// Where the last checkpoint record starts.
    pub fn checkpoint_lsn(&self) -> Lsn {
        Lsn(u64::from_le_bytes(self.read(CHECKPOINT_LSN)))
    }

    /// The copy of the last checkpoint record's contents.
    pub fn checkpoint(&self) -> CheckPoint {
        let bytes: [u8; CHECKPOINT_SIZE] = self.read(CHECKPOINT_COPY);
        // Decoding fails only on short input, and the array has the full size.
        CheckPoint::decode(&bytes).unwrap_or_default()
    }

    /// Sets the position and the copy of the last checkpoint record.
    pub fn set_checkpoint(&mut self, lsn: Lsn, checkpoint: &CheckPoint) {
        write(&mut self.image, CHECKPOINT_LSN, &lsn.0.to_le_bytes());
        write(&mut self.image, CHECKPOINT_COPY, &checkpoint.encode());
    }

    /// How far a standby must replay before it is consistent.
    pub fn min_recovery_point(&self) -> Lsn {
        Lsn(u64::from_le_bytes(self.read(MIN_RECOVERY_POINT)))
    }

    /// Sets how far a standby must replay, and on which timeline.
    pub fn set_min_recovery_point(&mut self, lsn: Lsn, timeline: u32) {
        write(&mut self.image, MIN_RECOVERY_POINT, &lsn.0.to_le_bytes());
        write(&mut self.image, MIN_RECOVERY_POINT_TLI, &timeline.to_le_bytes());
    }

    /// Makes the file say: shut down cleanly at the checkpoint record at `lsn`. A server with
    /// that record in its WAL then starts without recovery.
    pub fn set_clean_shutdown(&mut self, lsn: Lsn, checkpoint: &CheckPoint) {
        self.set_state(DB_SHUTDOWNED);
        self.set_checkpoint(lsn, checkpoint);
        self.set_min_recovery_point(Lsn::INVALID, 0);
        write(&mut self.image, UNLOGGED_LSN, &FIRST_UNLOGGED_LSN.to_le_bytes());
        // Backup start, backup end and the end-required flag lie side by side.
        write(&mut self.image, BACKUP_START, &[0; WAL_LEVEL - BACKUP_START]);
    }

    /// `wal_level` of the server that wrote the file.
    pub fn wal_level(&self) -> u32 {
        u32::from_le_bytes(self.read(WAL_LEVEL))
    }

    /// `max_connections` of the server that wrote the file.
    pub fn max_connections(&self) -> u32 {
        u32::from_le_bytes(self.read(MAX_CONNECTIONS))
    }

    /// `max_worker_processes` of the server that wrote the file.
    pub fn max_worker_processes(&self) -> u32 {
        u32::from_le_bytes(self.read(MAX_WORKER_PROCESSES))
    }

    /// `max_wal_senders` of the server that wrote the file.
    pub fn max_wal_senders(&self) -> u32 {
        u32::from_le_bytes(self.read(MAX_WAL_SENDERS))
    }

    /// `max_prepared_transactions` of the server that wrote the file.
    pub fn max_prepared_xacts(&self) -> u32 {
        u32::from_le_bytes(self.read(MAX_PREPARED_XACTS))
    }

    /// `max_locks_per_transaction` of the server that wrote the file.
    pub fn max_locks_per_xact(&self) -> u32 {
        u32::from_le_bytes(self.read(MAX_LOCKS_PER_XACT))
    }

    /// Whether commit timestamps are recorded.
    pub fn track_commit_timestamp(&self) -> bool {
        self.read::<1>(TRACK_COMMIT_TIMESTAMP) != [0]
    }

    /// Sets whether commit timestamps are recorded.
    pub fn set_track_commit_timestamp(&mut self, on: bool) {
        write(&mut self.image, TRACK_COMMIT_TIMESTAMP, &[u8::from(on)]);
    }

    /// Size of the cluster's WAL segments in bytes.
    pub fn wal_segment_size(&self) -> u32 {
        u32::from_le_bytes(self.read(XLOG_SEG_SIZE))
    }

    /// 0 if the cluster has no data checksums.
    pub fn data_checksum_version(&self) -> u32 {
        u32::from_le_bytes(self.read(DATA_CHECKSUM_VERSION))
    }

    /// The image is always 8192 bytes, far beyond every offset above.
    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.image.get(offset..).and_then(|tail| tail.first_chunk::<N>());
        bytes.copied().unwrap_or([0; N])
    }
}

fn write(image: &mut [u8], offset: usize, bytes: &[u8]) {
    image.iter_mut().skip(offset).zip(bytes).for_each(|(byte, new)| *byte = *new);
}

#[cfg(test)]
mod tests;
