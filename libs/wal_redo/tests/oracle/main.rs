//! The engine against PostgreSQL itself: a stock server runs a workload with
//! `wal_consistency_checking = all`, and every page that we redo must equal its check image.
//!
//! The tests that are ignored by default take long: PostgreSQL's own regression SQL, whose
//! directory `POSTGRES_SOURCE_DIR` must name (`make test-redo`).

mod catalog;
mod regression;
#[path = "../../examples/redo_check/wal_directory.rs"]
mod wal_directory;

use std::collections::VecDeque;
use std::sync::Mutex;

use pg_testing::{TestCluster, bin_dir, workload};
use postgres_ffi::{ControlFile, PgMajor};
use wal_redo::consistency::Checker;

use catalog::Coverage;

const SETTINGS: &str = "
wal_level = logical
wal_consistency_checking = 'all'
track_commit_timestamp = on
full_page_writes = on
max_prepared_transactions = 10
max_wal_size = 4GB
wal_keep_size = 60GB
max_connections = 60
";

/// How often a long comparison says how far it is.
const SEGMENTS_PER_REPORT: usize = 100;

/// A server whose WAL can be checked.
fn start(major: PgMajor, settings: &str) -> TestCluster {
    let mut cluster = TestCluster::init_with(bin_dir(major.number()));
    cluster.configure(SETTINGS);
    cluster.configure(settings);
    cluster.start();
    cluster
}

/// Stops the server and redoes all that it has logged.
fn check(mut cluster: TestCluster, major: PgMajor) -> Checker {
    cluster.stop("fast");
    let control = std::fs::read(cluster.pgdata().join("global/pg_control")).unwrap();
    let control = ControlFile::parse(&control).unwrap();
    let progress = |done: usize, all: usize| {
        if done.is_multiple_of(SEGMENTS_PER_REPORT) {
            println!("PostgreSQL {major}: compared {done} of {all} segments");
        }
    };
    let directory = cluster.pgdata().join("pg_wal");
    let (checker, end) = wal_directory::check(&directory, major, progress).unwrap();
    let shown: Vec<_> = checker.mismatches().iter().take(20).map(ToString::to_string).collect();
    assert!(shown.is_empty(), "pages differ from the server's:\n{}", shown.join("\n"));
    let last = control.checkpoint_lsn();
    assert!(end > last, "the log was read up to {end}, the last checkpoint is at {last}");
    let verified: u64 = checker.counts().values().map(|counts| counts.verified).sum();
    assert!(verified > 10_000, "only {verified} pages were verified");
    checker
}

/// The project's own workload. Every type of record must come up.
fn check_workload(major: PgMajor) {
    let mut cluster = start(major, "autovacuum = off\n");
    workload::run(&mut cluster);
    let coverage = Coverage::new(major, check(cluster, major).counts());
    let (missing, unknown) = (coverage.missing(), coverage.unknown());
    println!("{}", catalog::table(&[coverage]));
    assert!(missing.is_empty(), "the workload made no record of {missing:?}");
    assert!(unknown.is_empty(), "the catalog of record types lacks {unknown:?}");
}

#[test]
fn every_page_redone_from_the_log_of_postgres_15_equals_the_servers() {
    check_workload(PgMajor::V15);
}

#[test]
fn every_page_redone_from_the_log_of_postgres_16_equals_the_servers() {
    check_workload(PgMajor::V16);
}

#[test]
fn every_page_redone_from_the_log_of_postgres_17_equals_the_servers() {
    check_workload(PgMajor::V17);
}

#[test]
fn every_page_redone_from_the_log_of_postgres_18_equals_the_servers() {
    check_workload(PgMajor::V18);
}

/// The versions that `ORACLE_MAJORS` lists, such as `15 18`; all without it.
fn chosen_majors() -> Vec<PgMajor> {
    let Ok(chosen) = std::env::var("ORACLE_MAJORS") else { return PgMajor::ALL.to_vec() };
    let major = |number: &str| PgMajor::try_from(number.parse::<u32>().unwrap()).unwrap();
    chosen.split_whitespace().map(major).collect()
}

/// Versions that are checked side by side: `ORACLE_JOBS`, 1 without it.
fn jobs() -> usize {
    std::env::var("ORACLE_JOBS").map_or(1, |jobs| jobs.parse().unwrap())
}

/// Everything there is, on one version.
fn check_all(major: PgMajor) -> Coverage {
    let mut cluster = start(major, "autovacuum_naptime = 1s\nwal_compression = pglz\n");
    regression::run(&cluster, major);
    println!("PostgreSQL {major}: our workload");
    workload::run(&mut cluster);
    println!("PostgreSQL {major}: a million transactions");
    workload::burn_a_million_transactions(&cluster);
    let coverage = Coverage::new(major, check(cluster, major).counts());
    println!("PostgreSQL {major}: no page differs; {}", coverage.summary());
    println!("PostgreSQL {major}: types of record that did not come up: {:?}", coverage.missing());
    coverage
}

/// The regression SQL of every version there are sources of, our own workload and a million
/// transactions, with one table over all versions at the end.
#[test]
#[ignore = "takes long; make test-redo runs it"]
fn every_page_of_the_regression_sql_equals_the_servers() {
    let waiting = Mutex::new(VecDeque::from(chosen_majors()));
    let next = || waiting.lock().unwrap().pop_front();
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs() {
            scope.spawn(|| {
                while let Some(major) = next() {
                    let coverage = check_all(major);
                    done.lock().unwrap().push(coverage);
                }
            });
        }
    });
    let mut versions = done.into_inner().unwrap();
    versions.sort_by_key(|version| version.major);
    println!("{}", catalog::table(&versions));
    for version in &versions {
        let (missing, unknown) = (version.missing(), version.unknown());
        assert!(missing.is_empty(), "{}: no record of {missing:?}", version.major);
        assert!(unknown.is_empty(), "{}: the catalog lacks {unknown:?}", version.major);
    }
}
