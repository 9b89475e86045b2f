//! Ingest of what a stock server really writes, compared with its data directory.

mod commit_timestamps;
mod datadir;
mod standby;
mod tablespaces;
mod workloads;

use pageserver_api::shard::ShardIdentity;
use pg_testing::{TestCluster, bin_dir};
use postgres_ffi::xlog::segment_file_name;
use postgres_ffi::{ControlFile, PgMajor, WAL_SEGMENT_SIZE};
use utils::Lsn;
use wal_decoder::{WalStreamDecoder, record};

use super::WalIngest;
use super::import::{datadir_lsn, import_datadir};
use crate::keymap::memory::MemoryStore;
use crate::keymap::{DatadirModification, KeyStore};

/// A cluster and the timeline that follows it.
struct Followed {
    cluster: TestCluster,
    major: PgMajor,
    store: MemoryStore,
    /// The last record when the cluster was started.
    import_lsn: Lsn,
}

impl Followed {
    /// Initialises a cluster, imports it, and starts it.
    async fn start() -> Followed {
        Self::start_with(TestCluster::init(), "").await
    }

    /// The same, of a major version.
    async fn start_version(major: PgMajor) -> Followed {
        Self::start_with(TestCluster::init_with(bin_dir(major.number())), "").await
    }

    /// Imports a cluster and starts it with these settings.
    async fn start_with(mut cluster: TestCluster, settings: &str) -> Followed {
        let pgdata = cluster.pgdata();
        let major = control_file(&cluster).major();
        let store = MemoryStore::new(major);
        let lsn = datadir_lsn(&pgdata).unwrap();
        import_datadir(&store, ShardIdentity::unsharded(), major, &pgdata, lsn).await.unwrap();
        cluster.configure(
            "wal_keep_size = 10GB\nmax_prepared_transactions = 10\nautovacuum_naptime = 1s\n\
             wal_level = logical\n",
        );
        cluster.configure(settings);
        cluster.start();
        let import_lsn = store.last_record_lsn();
        Followed { cluster, major, store, import_lsn }
    }

    /// Stops the cluster, ingests all its WAL and compares the results.
    async fn stop_and_compare(mut self) {
        self.cluster.stop("fast");
        self.ingest_all(&self.cluster.pgdata().join("pg_wal")).await;
        datadir::compare(&self.store, self.major, &self.cluster.pgdata()).await;
    }

    async fn ingest_all(&self, pg_wal: &std::path::Path) {
        let start = self.store.last_record_lsn();
        let mut decoder =
            WalStreamDecoder::new(start.normalize(WAL_SEGMENT_SIZE as u64), self.major);
        let shard = ShardIdentity::unsharded();
        let mut ingest = WalIngest::new(&self.store, shard, self.major, start).await.unwrap();
        let mut modification = DatadirModification::begin(&self.store, self.major, start);
        let mut segment = start.segment_number(WAL_SEGMENT_SIZE as u64);
        let mut records = 0;
        while let Ok(bytes) = std::fs::read(pg_wal.join(segment_file_name(segment))) {
            segment += 1;
            let offset = decoder.lsn().segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
            decoder.feed_bytes(&bytes[offset..]);
            while let Ok(Some((lsn, raw))) = decoder.poll_decode() {
                let record = record::decode(&raw, self.major).unwrap();
                ingest.ingest_record(&record, lsn, &mut modification).await.unwrap();
                records += 1;
                if records % 100 == 0 {
                    modification.commit().await.unwrap();
                }
            }
        }
        modification.commit().await.unwrap();
        assert!(self.store.last_record_lsn() > start + 1000, "there was WAL to ingest");
    }
}

fn control_file(cluster: &TestCluster) -> ControlFile {
    let bytes = std::fs::read(cluster.pgdata().join("global/pg_control")).unwrap();
    ControlFile::parse(&bytes).unwrap()
}

#[tokio::test]
async fn a_fresh_cluster_is_imported_whole() {
    let cluster = TestCluster::init();
    let major = control_file(&cluster).major();
    let store = MemoryStore::new(major);
    let pgdata = cluster.pgdata();
    let lsn = datadir_lsn(&pgdata).unwrap();
    import_datadir(&store, ShardIdentity::unsharded(), major, &pgdata, lsn).await.unwrap();
    assert!(store.last_record_lsn() > lsn, "the checkpoint record is part of the import");
    datadir::compare(&store, major, &pgdata).await;
}

#[tokio::test]
async fn a_running_cluster_is_not_imported() {
    let mut cluster = TestCluster::init();
    cluster.start();
    let store = MemoryStore::new(control_file(&cluster).major());
    let pgdata = cluster.pgdata();
    let lsn = datadir_lsn(&pgdata).unwrap();
    let major = control_file(&cluster).major();
    let result = import_datadir(&store, ShardIdentity::unsharded(), major, &pgdata, lsn).await;
    assert!(result.is_err());
    assert_eq!(store.last_record_lsn(), Lsn::INVALID);
}
