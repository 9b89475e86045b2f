//! WAL that a stock PostgreSQL wrote.

use std::path::Path;

use pg_testing::TestCluster;
use postgres_ffi::PgMajor;
use postgres_ffi::control_file::ControlFile;
use postgres_ffi::xlog::segment_file_name;
use utils::Lsn;

use super::proposer::SEGMENT_SIZE;

/// A cluster whose WAL from `start` to `end` covers several segments and a log switch.
pub struct StockWal {
    pub cluster: TestCluster,
    pub system_id: u64,
    pub start: Lsn,
    pub bytes: Vec<u8>,
}

impl StockWal {
    pub fn generate() -> Self {
        let mut cluster = TestCluster::init();
        cluster.configure("wal_keep_size = 1GB\nmax_wal_size = 1GB\n");
        cluster.start();
        let start = cluster.sql("select pg_current_wal_insert_lsn()").trim().parse().unwrap();
        cluster.sql("create table t(a int primary key, b text)");
        cluster
            .sql("insert into t select g, repeat('x', g % 2000) from generate_series(1, 9000) g");
        cluster.sql("select pg_switch_wal()");
        cluster.sql("update t set b = b || 'y' where a % 3 = 0");
        cluster.sql("insert into t select g, repeat('z', 900) from generate_series(9001, 30000) g");
        cluster.stop("fast");
        let file = std::fs::read(cluster.pgdata().join("global/pg_control")).unwrap();
        let system_id = ControlFile::parse(&file).unwrap().system_identifier();
        let bytes = read_wal(&cluster.pgdata(), start);
        Self { cluster, system_id, start, bytes }
    }

    pub fn end(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }
}

/// All WAL of a stopped cluster from `start`, a record boundary, on.
pub fn read_wal(pgdata: &Path, start: Lsn) -> Vec<u8> {
    let dir = pgdata.join("pg_wal");
    let end = wal_decoder::find_end_of_wal(&dir, start, PgMajor::V15).unwrap().lsn;
    let mut bytes = Vec::new();
    for segno in start.segment_number(SEGMENT_SIZE)..=end.segment_number(SEGMENT_SIZE) {
        bytes.extend(std::fs::read(dir.join(segment_file_name(segno))).unwrap_or_default());
    }
    let offset = start.segment_offset(SEGMENT_SIZE) as usize;
    bytes[offset..offset + (end - start) as usize].to_vec()
}
