//! The real storage code on the simulated file system.

use std::ops::Range;
use std::sync::Arc;

use postgres_ffi::PgMajor;
use postgres_ffi::xlog::segment::{partial_segment_file_name, segment_file_name};
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use safekeeper::control_store::{CONTROL_FILE_NAME, FileControlStore};
use safekeeper::wal_storage::{FileWalStorage, SEGMENT_SIZE, SegmentDir};
use utils::Lsn;
use wal_quorum::control_file::ControlFile;
use wal_quorum::simulation::{DiskFault, Platform};

use super::files::SimulatedFiles;

const DIR: &str = "/timeline";
const MAJOR: PgMajor = PgMajor::V15;
const IDENTITY: WalIdentity = WalIdentity { major: MAJOR, system_id: 77 };

/// One safekeeper's timeline directory.
#[derive(Clone, Debug)]
pub struct RealStorage(SimulatedFiles);

impl RealStorage {
    fn segments(&self) -> SegmentDir {
        SegmentDir::on(Arc::new(self.0.clone()), DIR)
    }

    fn read_wal(&self, range: Range<Lsn>, durable: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut position = range.start;
        while position < range.end {
            let offset = position.segment_offset(SEGMENT_SIZE);
            let length = (SEGMENT_SIZE - offset).min(range.end - position);
            let number = position.segment_number(SEGMENT_SIZE);
            let names = [partial_segment_file_name(number), segment_file_name(number)];
            let read = |name: &String| self.0.range(name, offset..offset + length, durable);
            bytes.extend(names.iter().find_map(read).unwrap_or(vec![0; length as usize]));
            position = position + length;
        }
        bytes
    }
}

impl Platform for RealStorage {
    /// Close to the end of a segment, so that every longer schedule fills one.
    const START: Lsn = Lsn(0x1FF_F800);
    type Wal = FileWalStorage;
    type Control = FileControlStore;

    fn new(seed: u64, fault: DiskFault) -> Self {
        Self(SimulatedFiles::new(seed, fault))
    }

    fn record(start: Lsn, fill: u64, words: usize) -> Vec<u8> {
        let mut builder = WalBuilder::new(IDENTITY, start, Lsn::INVALID);
        let message: Vec<u8> = (0..words).flat_map(|_| fill.to_le_bytes()).collect();
        builder.append(&RawRecord::logical_message("s", &message));
        builder.into_bytes()
    }

    fn fail_after(&self, operations: u32) {
        self.0.fail_after(operations);
    }

    fn fail_next_sync(&self) {
        self.0.fail_next_sync();
    }

    fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    fn needs_restart(&self) -> bool {
        self.0.is_poisoned()
    }

    fn power_failure(&self) {
        self.0.power_failure();
    }

    fn control_file(&self) -> Option<ControlFile> {
        let bytes = self.0.content(CONTROL_FILE_NAME, false)?;
        Some(ControlFile::decode(&bytes).expect("the control file is always readable"))
    }

    fn control_store(&self) -> FileControlStore {
        FileControlStore::on(Arc::new(self.0.clone()), DIR)
    }

    fn open_wal(&self, file: &ControlFile) -> FileWalStorage {
        let open = || FileWalStorage::open(self.segments(), MAJOR, file.commit_lsn);
        self.0.without_failures(open).expect("nothing fails while a safekeeper starts")
    }

    fn read(&self, range: Range<Lsn>) -> Vec<u8> {
        self.read_wal(range, false)
    }

    fn read_durable(&self, range: Range<Lsn>) -> Vec<u8> {
        self.read_wal(range, true)
    }
}
