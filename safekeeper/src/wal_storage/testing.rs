//! Crafted WAL for the tests of this module.

use camino::Utf8PathBuf;
use postgres_ffi::PgMajor;
use postgres_ffi::xlog::{RawRecord, WalBuilder, WalIdentity};
use utils::Lsn;

use super::{FileWalStorage, SEGMENT_SIZE, SegmentDir};
use crate::durability::Durability;

pub(super) const MAJOR: PgMajor = PgMajor::V15;
pub(super) const IDENTITY: WalIdentity = WalIdentity { major: MAJOR, system_id: 42 };

/// A directory for segments that goes away with the test.
pub(super) struct TestDir {
    _guard: tempfile::TempDir,
    pub(super) path: Utf8PathBuf,
}

impl TestDir {
    pub(super) fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, path }
    }

    pub(super) fn segments(&self) -> SegmentDir {
        SegmentDir::new(&self.path, Durability::Unsynced)
    }

    pub(super) fn open(&self, commit_lsn: Lsn) -> FileWalStorage {
        FileWalStorage::open(self.segments(), MAJOR, commit_lsn).unwrap()
    }

    /// Storage of a fresh timeline that begins at `start`.
    pub(super) fn fresh(&self, start: Lsn) -> FileWalStorage {
        let mut storage = self.open(Lsn::INVALID);
        storage.write_first_headers(start, IDENTITY.system_id).unwrap();
        storage.truncate(start).unwrap();
        storage
    }

    /// What a crash of the process would leave.
    pub(super) fn copy(&self) -> TestDir {
        let copy = TestDir::new();
        for entry in std::fs::read_dir(&self.path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            std::fs::copy(self.path.join(&name), copy.path.join(&name)).unwrap();
        }
        copy
    }

    pub(super) fn file_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A record of about this many bytes.
pub(super) fn message(bytes: usize) -> RawRecord {
    RawRecord::logical_message("test", &vec![b'x'; bytes])
}

/// WAL from `start` on, made of these records.
pub(super) fn wal(start: Lsn, records: &[RawRecord]) -> Vec<u8> {
    let mut builder = WalBuilder::new(IDENTITY, start, Lsn::INVALID);
    for record in records {
        builder.append(record);
    }
    builder.into_bytes()
}

/// The start of the second segment plus `offset`, past the page header.
pub(super) fn start_at(offset: u64) -> Lsn {
    Lsn(SEGMENT_SIZE + offset)
}
