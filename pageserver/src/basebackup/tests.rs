//! Archives of what a stock server wrote, taken apart, and started again by a stock server.

mod boot;
mod commit_timestamps;
mod contents;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use pageserver_api::shard::ShardIdentity;
use pg_testing::TestCluster;
use postgres_ffi::xlog::segment_file_name;
use postgres_ffi::{ControlFile, PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;
use wal_decoder::{WalStreamDecoder, record};

use super::{BackupKind, BackupRequest, Compression, send_basebackup};
use crate::ingest::WalIngest;
use crate::ingest::import::{datadir_lsn, import_datadir};
use crate::keymap::memory::MemoryStore;
use crate::keymap::{DatadirModification, KeyStore};

/// A timeline made from a cluster's data directory, and the cluster.
struct Imported {
    cluster: TestCluster,
    major: PgMajor,
    store: MemoryStore,
    /// Where backups are made: the end of a record, and of the one before it.
    position: (Lsn, Lsn),
    /// Ends of the records that were ingested.
    record_ends: Vec<Lsn>,
}

impl Imported {
    async fn fresh() -> Imported {
        let cluster = TestCluster::init();
        let pgdata = cluster.pgdata();
        let bytes = std::fs::read(pgdata.join("global/pg_control")).unwrap();
        let major = ControlFile::parse(&bytes).unwrap().major();
        let store = MemoryStore::new(major);
        let lsn = datadir_lsn(&pgdata).unwrap();
        import_datadir(&store, ShardIdentity::unsharded(), major, &pgdata, lsn).await.unwrap();
        let position = (store.last_record_lsn(), store.prev_record_lsn());
        Imported { cluster, major, store, position, record_ends: Vec::new() }
    }

    /// Runs statements on the cluster, then ingests the WAL they wrote.
    async fn run(&mut self, configuration: &str, statements: &[&str]) {
        self.cluster.configure(configuration);
        self.cluster.start();
        for statement in statements {
            self.cluster.sql(statement);
        }
        // Not a clean end: what a shutdown would write must not be needed.
        self.cluster.stop("immediate");
        self.record_ends.extend(self.ingest(&self.cluster.pgdata().join("pg_wal")).await);
        self.position = (self.store.last_record_lsn(), self.store.prev_record_lsn());
    }

    async fn ingest(&self, pg_wal: &Path) -> Vec<Lsn> {
        let mut ends = Vec::new();
        const SEGMENT: u64 = WAL_SEGMENT_SIZE as u64;
        let start = self.store.last_record_lsn();
        let mut decoder = WalStreamDecoder::new(start.normalize(SEGMENT), self.major);
        let shard = ShardIdentity::unsharded();
        let mut ingest = WalIngest::new(&self.store, shard, self.major, start).await.unwrap();
        let mut modification = DatadirModification::begin(&self.store, self.major, start);
        let mut segment = start.segment_number(SEGMENT);
        while let Ok(bytes) = std::fs::read(pg_wal.join(segment_file_name(segment))) {
            segment += 1;
            decoder.feed_bytes(&bytes[decoder.lsn().segment_offset(SEGMENT) as usize..]);
            while let Ok(Some((lsn, raw))) = decoder.poll_decode() {
                let record = record::decode(&raw, self.major).unwrap();
                ingest.ingest_record(&record, lsn, &mut modification).await.unwrap();
                modification.commit().await.unwrap();
                ends.push(lsn);
            }
        }
        ends
    }

    fn request(&self, kind: BackupKind) -> BackupRequest {
        let ((lsn, prev_lsn), major) = (self.position, self.major);
        BackupRequest { lsn, prev_lsn, is_branch_point: false, kind, major }
    }

    async fn backup(&self, kind: BackupKind) -> Vec<u8> {
        let mut tar = Vec::new();
        let request = self.request(kind);
        send_basebackup(&self.store, &request, Compression::None, &mut tar).await.unwrap();
        tar
    }
}

/// Files of an archive; directories have no content.
fn unpack(tar: &[u8]) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let content = if entry.header().entry_type().is_dir() {
            None
        } else {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            Some(content)
        };
        entries.insert(path, content);
    }
    entries
}
