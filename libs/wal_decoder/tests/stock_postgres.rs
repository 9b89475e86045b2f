//! What a stock server writes, compared with what its own tools say about it.

use std::collections::BTreeMap;
use std::path::Path;

use pg_testing::TestCluster;
use postgres_ffi::control_file::ControlFile;
use postgres_ffi::xlog::{
    RecordHeader, ShutdownCheckpoint, WalIdentity, parse_segment_file_name, segment_file_name,
};
use postgres_ffi::{PgMajor, WAL_SEGMENT_SIZE, relmap};
use utils::Lsn;
use wal_decoder::{WalStreamDecoder, find_end_of_wal, record};

fn control_file(pgdata: &Path) -> ControlFile {
    ControlFile::parse(&std::fs::read(pgdata.join("global/pg_control")).unwrap()).unwrap()
}

/// A cluster that has done some of everything and was shut down.
fn used_cluster() -> TestCluster {
    let mut cluster = TestCluster::init();
    cluster.configure("wal_compression = pglz\nmax_wal_size = 1GB\nwal_keep_size = 1GB\n");
    cluster.start();
    cluster.sql("create table t(a int primary key, b text)");
    cluster.sql("insert into t select g, repeat('x', g % 3000) from generate_series(1, 20000) g");
    cluster.sql("select pg_switch_wal()");
    cluster.sql("create index on t using hash (b)");
    cluster.sql("update t set b = b || 'y' where a % 3 = 0");
    cluster.sql("checkpoint");
    cluster.sql("delete from t where a % 2 = 0");
    cluster.sql("vacuum t");
    cluster.stop("fast");
    cluster
}

/// One record as `pg_waldump` lists it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    lsn: Lsn,
    prev: Lsn,
    total_length: u32,
    xid: u32,
}

fn waldump(cluster: &TestCluster, start: Lsn) -> Vec<Listed> {
    let wal = cluster.pgdata().join("pg_wal");
    let start = start.to_string();
    let output = cluster.run("pg_waldump", &["-p", wal.to_str().unwrap(), "-s", &start]);
    let text = String::from_utf8(output.stdout).unwrap();
    let parse = |line: &str| {
        let after = |mark: &str| line.split_once(mark).unwrap().1.trim_start();
        let until = |text: &str, end: char| text.split(end).next().unwrap().trim().to_owned();
        let lengths = until(after("len (rec/tot):"), ',');
        Listed {
            lsn: until(after("lsn: "), ',').parse().unwrap(),
            prev: until(after("prev "), ',').parse().unwrap(),
            total_length: lengths.split('/').nth(1).unwrap().trim().parse().unwrap(),
            xid: until(after("tx: "), ',').parse().unwrap(),
        }
    };
    text.lines().map(parse).collect()
}

/// Every record from `start` on, as this crate decodes them.
fn decode(pgdata: &Path, start: Lsn, major: PgMajor) -> (Vec<Listed>, Lsn) {
    let mut decoder = WalStreamDecoder::new(start, major);
    let mut records = Vec::new();
    let mut position = start;
    let mut segment = start.segment_number(WAL_SEGMENT_SIZE as u64);
    while let Ok(bytes) = std::fs::read(pgdata.join("pg_wal").join(segment_file_name(segment))) {
        let offset = decoder.lsn().segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
        decoder.feed_bytes(&bytes[offset..]);
        segment += 1;
        while let Ok(Some((next, raw))) = decoder.poll_decode() {
            let header = RecordHeader::parse(&raw).unwrap();
            record::decode(&raw, major).expect("every record can be taken apart");
            records.push(Listed {
                lsn: position.normalize(WAL_SEGMENT_SIZE as u64),
                prev: header.prev,
                total_length: header.total_length,
                xid: header.xid,
            });
            position = next;
        }
    }
    (records, position)
}

fn first_segment_start(pgdata: &Path) -> Lsn {
    let names = std::fs::read_dir(pgdata.join("pg_wal")).unwrap();
    let numbers = names.filter_map(|entry| {
        parse_segment_file_name(entry.unwrap().file_name().to_str().unwrap()).map(|(n, _)| n)
    });
    Lsn(numbers.min().unwrap() * WAL_SEGMENT_SIZE as u64)
}

#[test]
fn the_same_records_are_found_as_by_pg_waldump() {
    let cluster = used_cluster();
    let major = control_file(&cluster.pgdata()).major();
    let start = first_segment_start(&cluster.pgdata());
    let expected = waldump(&cluster, start);
    let (found, end) = decode(&cluster.pgdata(), start, major);
    assert!(expected.len() > 20_000, "pg_waldump lists only {} records", expected.len());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    let found_end = find_end_of_wal(&cluster.pgdata().join("pg_wal"), start, major).unwrap();
    assert_eq!(found_end.lsn, end);
}

#[test]
fn pg_control_reads_as_pg_controldata_prints_it() {
    let cluster = used_cluster();
    let file = control_file(&cluster.pgdata());
    let text = cluster.run_ok("pg_controldata", &["-D", cluster.pgdata().to_str().unwrap()]);
    let printed: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let checkpoint = file.checkpoint();
    let next_xid = format!("{}:{}", checkpoint.next_xid >> 32, checkpoint.next_xid_low());
    for (name, value) in [
        ("pg_control version number", file.pg_control_version().to_string()),
        ("Catalog version number", file.catalog_version().to_string()),
        ("Database system identifier", file.system_identifier().to_string()),
        ("Latest checkpoint location", file.checkpoint_lsn().to_string()),
        ("Latest checkpoint's REDO location", checkpoint.redo.to_string()),
        ("Latest checkpoint's TimeLineID", checkpoint.this_timeline_id.to_string()),
        ("Latest checkpoint's NextXID", next_xid),
        ("Latest checkpoint's NextOID", checkpoint.next_oid.to_string()),
        ("Latest checkpoint's NextMultiXactId", checkpoint.next_multi.to_string()),
        ("Latest checkpoint's NextMultiOffset", checkpoint.next_multi_offset.to_string()),
        ("Latest checkpoint's oldestXID", checkpoint.oldest_xid.to_string()),
        ("Latest checkpoint's oldestXID's DB", checkpoint.oldest_xid_db.to_string()),
        ("Latest checkpoint's oldestMultiXid", checkpoint.oldest_multi.to_string()),
        ("Latest checkpoint's oldestMulti's DB", checkpoint.oldest_multi_db.to_string()),
        ("Minimum recovery ending location", file.min_recovery_point().to_string()),
        ("max_connections setting", file.max_connections().to_string()),
        ("max_wal_senders setting", file.max_wal_senders().to_string()),
        ("Bytes per WAL segment", file.wal_segment_size().to_string()),
        ("Data page checksum version", file.data_checksum_version().to_string()),
    ] {
        assert_eq!(printed.get(name), Some(&value.as_str()), "{name}");
    }
    assert_eq!(printed["Database cluster state"], "shut down");
    assert_eq!(file.state(), postgres_ffi::control_file::DB_SHUTDOWNED);
}

#[test]
fn the_relation_map_names_pg_class() {
    let cluster = TestCluster::init();
    let major = control_file(&cluster.pgdata()).major();
    let bytes = std::fs::read(cluster.pgdata().join("base/1/pg_filenode.map")).unwrap();
    let map = relmap::parse_relmap(&bytes, major).unwrap();
    assert!(map.contains(&(1259, 1259)), "{map:?}");
}

/// Replaces the WAL and the control file by ones made for a start at `skip` bytes after the
/// WAL's real end, and lets the server judge.
fn boots_from_a_synthetic_checkpoint(mut cluster: TestCluster, skip: impl Fn(Lsn) -> Lsn) {
    let pgdata = cluster.pgdata();
    let mut control = control_file(&pgdata);
    let (major, system_id) = (control.major(), control.system_identifier());
    let wal = pgdata.join("pg_wal");
    let checkpoint = control.checkpoint();
    let end = find_end_of_wal(&wal, checkpoint.redo, major).unwrap().lsn;
    let prev = control.checkpoint_lsn();
    let made =
        ShutdownCheckpoint::new(WalIdentity { major, system_id }, skip(end), prev, &checkpoint);
    for entry in std::fs::read_dir(&wal).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for (number, bytes) in made.segments() {
        std::fs::write(wal.join(segment_file_name(number)), bytes).unwrap();
    }
    made.patch_control_file(&mut control);
    std::fs::write(pgdata.join("global/pg_control"), control.to_bytes()).unwrap();
    cluster.adopt_files();
    cluster.start();
    assert_eq!(cluster.sql("select count(*), sum(a) from t"), "10000|100000000");
    cluster.sql("create table after_boot as select generate_series(1, 1000)");
    cluster.stop("fast");
    let (records, _) = decode(&pgdata, made.start, major);
    assert_eq!(records[0].lsn, made.position);
    assert_eq!(records[0].prev, prev);
    assert_eq!(records[1].lsn, made.end);
    assert_eq!(records[1].prev, made.position);
}

#[test]
fn a_stock_server_boots_from_a_synthetic_checkpoint() {
    boots_from_a_synthetic_checkpoint(used_cluster(), |end| end);
}

#[test]
fn a_stock_server_boots_where_the_record_crosses_a_page() {
    boots_from_a_synthetic_checkpoint(used_cluster(), |end| {
        Lsn(end.0.next_multiple_of(8192) + 8192 - 48)
    });
}

#[test]
fn a_stock_server_boots_where_the_record_crosses_a_segment() {
    boots_from_a_synthetic_checkpoint(used_cluster(), |end| {
        Lsn(end.0.next_multiple_of(WAL_SEGMENT_SIZE as u64) - 64)
    });
}

#[test]
fn a_stock_server_boots_at_a_page_boundary() {
    boots_from_a_synthetic_checkpoint(used_cluster(), |end| Lsn(end.0.next_multiple_of(8192)));
}

#[test]
fn a_stock_server_boots_at_a_segment_boundary() {
    boots_from_a_synthetic_checkpoint(used_cluster(), |end| {
        Lsn(end.0.next_multiple_of(WAL_SEGMENT_SIZE as u64))
    });
}
