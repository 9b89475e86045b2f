//! Every block that ingest and redo give, compared with the files of a stock standby that replayed
//! the same WAL: PostgreSQL's own redo.

use std::path::Path;
use std::time::{Duration, Instant};

use pageserver_api::Key;
use pageserver_api::shard::ShardIdentity;
use pg_testing::{TestCluster, bin_dir, workload};
use postgres_ffi::page::{Page, page_is_new, page_lsn};
use postgres_ffi::pg_constants::rmgr;
use postgres_ffi::{BLCKSZ, ForkNumber, PgMajor, RelTag};
use utils::Lsn;
use wal_redo::consistency::mask;

use super::datadir::{database_directories, relation_files};
use super::{Followed, control_file};
use crate::ingest::import::{datadir_lsn, import_datadir};
use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

const REPLAY_DEADLINE: Duration = Duration::from_secs(300);
const SETTINGS: &str = "
wal_level = logical
autovacuum = off
track_commit_timestamp = on
max_prepared_transactions = 10
wal_keep_size = 10GB
max_wal_size = 4GB
";

/// A primary whose timeline began with its data directory, and a standby that began with a copy.
async fn primary_and_standby(major: PgMajor) -> (Followed, TestCluster) {
    let bin_dir = bin_dir(major.number());
    let mut cluster = TestCluster::init_with(bin_dir.clone());
    let pgdata = cluster.pgdata();
    assert_eq!(control_file(&cluster).major(), major);
    let store = MemoryStore::new(major);
    let lsn = datadir_lsn(&pgdata).unwrap();
    import_datadir(&store, ShardIdentity::unsharded(), major, &pgdata, lsn).await.unwrap();
    cluster.configure(SETTINGS);
    let standby = TestCluster::empty(bin_dir);
    let copied = std::process::Command::new("cp")
        .args(["-a".as_ref(), pgdata.as_os_str(), standby.pgdata().as_os_str()])
        .status();
    assert!(copied.unwrap().success(), "copying the data directory failed");
    standby.configure(&format!(
        "restore_command = 'cp {}/pg_wal/%f %p'\nhot_standby = on\n",
        pgdata.display()
    ));
    std::fs::write(standby.pgdata().join("standby.signal"), "").unwrap();
    standby.adopt_files();
    cluster.start();
    let import_lsn = store.last_record_lsn();
    (Followed { cluster, major, store, import_lsn }, standby)
}

/// Lets the standby replay everything that its stopped primary wrote, and stops it.
fn replay(standby: &mut TestCluster, end: Lsn) {
    standby.start();
    let deadline = Instant::now() + REPLAY_DEADLINE;
    loop {
        let reached = standby.sql("SELECT pg_last_wal_replay_lsn()");
        if reached.parse::<Lsn>().is_ok_and(|reached| reached >= end) {
            break;
        }
        assert!(Instant::now() < deadline, "the standby is at {reached}, the primary at {end}");
        std::thread::sleep(Duration::from_millis(100));
    }
    standby.stop("fast");
}

/// Whose redo made the page, as its special area says.
fn access_method(page: &Page) -> u8 {
    let number = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let special = usize::from(number(16));
    let (kind, last) = (number(BLCKSZ - 2), BLCKSZ - special);
    match (last, kind) {
        (0, _) => rmgr::HEAP,
        (16, 0xFF80) => rmgr::HASH,
        (16, 0xFF81) => rmgr::GIST,
        (16, _) => rmgr::BTREE,
        (8, 0xFF82) => rmgr::SPGIST,
        (8, 0xFF83) => rmgr::GENERIC,
        (8, 0xF091..=0xF093) => rmgr::BRIN,
        (8, _) if number(special) == 0x1717 => rmgr::SEQ,
        (8, _) => rmgr::GIN,
        (length, kind) => panic!("a page with {length} bytes of special area, kind {kind:#06x}"),
    }
}

/// The first difference of two versions of a page, if any.
fn difference(ours: &Page, theirs: &Page, rel: RelTag, block: u32) -> Option<String> {
    if page_is_new(theirs) {
        return (!page_is_new(ours)).then(|| "it is empty there".to_owned());
    }
    if rel.fork == ForkNumber::VisibilityMap {
        // PostgreSQL's redo does not stamp a map page from which it clears bits.
        let at = ours.iter().zip(theirs).skip(24).position(|(a, b)| a != b);
        return at
            .map(|at| format!("map byte {at}: {:#04x}, {:#04x}", ours[24 + at], theirs[24 + at]));
    }
    if page_lsn(ours) != page_lsn(theirs) {
        return Some(format!(
            "its record ends at {} there, {} here",
            page_lsn(theirs),
            page_lsn(ours)
        ));
    }
    let method = access_method(theirs);
    let (mut a, mut b) = (*ours, *theirs);
    for page in [&mut a, &mut b] {
        if let Err(failure) = mask(page, block, method) {
            return Some(format!("cannot be masked for resource manager {method}: {failure}"));
        }
    }
    let at = a.iter().zip(&b).position(|(a, b)| a != b)?;
    Some(format!("byte {at} (resource manager {method}): {:#04x}, {:#04x}", a[at], b[at]))
}

async fn compare(store: &MemoryStore, pgdata: &Path) -> usize {
    let contents = Keymap::at(store, store.last_record_lsn());
    let (mut compared, mut differences) = (0, Vec::new());
    let known = contents.databases().await.unwrap();
    for ((spcnode, dbnode), directory) in database_directories(pgdata) {
        assert!(known.contains_key(&(spcnode, dbnode)), "database {dbnode} is not stored");
        let stored = contents.relations(spcnode, dbnode).await.unwrap();
        for (rel, file) in relation_files(&directory, spcnode, dbnode) {
            // Free space maps are not logged. A map without a bit may exist on either side.
            let void = rel.fork == ForkNumber::VisibilityMap && !stored.contains(&rel);
            if rel.fork == ForkNumber::Fsm || void {
                continue;
            }
            let blocks = contents.rel_size(rel).await.unwrap() as usize;
            if rel.fork != ForkNumber::VisibilityMap && blocks * BLCKSZ != file.len() {
                differences.push(format!("{rel}: {blocks} blocks, {} bytes there", file.len()));
            }
            for (block, theirs) in (0..).zip(file.chunks(BLCKSZ).take(blocks)) {
                let ours = contents.get(Key::rel_block(rel, block)).await.unwrap();
                let (ours, theirs) =
                    (ours.as_ref().try_into().unwrap(), theirs.try_into().unwrap());
                let found = difference(ours, theirs, rel, block);
                differences.extend(found.map(|found| format!("{rel} block {block}: {found}")));
                compared += 1;
            }
        }
    }
    let count = differences.len();
    let shown = differences.into_iter().take(20).collect::<Vec<_>>().join("\n");
    assert!(count == 0, "{count} differences from the standby:\n{shown}");
    compared
}

async fn compare_after_the_workload(major: PgMajor) {
    let (mut followed, mut standby) = primary_and_standby(major).await;
    workload::run_scripts(&followed.cluster);
    followed.cluster.stop("fast");
    followed.ingest_all(&followed.cluster.pgdata().join("pg_wal")).await;
    replay(&mut standby, followed.store.last_record_lsn());
    let compared = compare(&followed.store, &standby.pgdata()).await;
    println!("PostgreSQL {major}: {compared} blocks equal those of a standby");
    assert!(compared > 5_000, "only {compared} blocks were compared");
}

#[tokio::test]
async fn every_block_equals_that_of_a_standby_of_postgres_15() {
    compare_after_the_workload(PgMajor::V15).await;
}

#[tokio::test]
#[ignore = "as the one of 15, and takes as long; make test-redo runs it"]
async fn every_block_equals_that_of_a_standby_of_postgres_16() {
    compare_after_the_workload(PgMajor::V16).await;
}

#[tokio::test]
#[ignore = "as the one of 18, and takes as long; make test-redo runs it"]
async fn every_block_equals_that_of_a_standby_of_postgres_17() {
    compare_after_the_workload(PgMajor::V17).await;
}

#[tokio::test]
async fn every_block_equals_that_of_a_standby_of_postgres_18() {
    compare_after_the_workload(PgMajor::V18).await;
}
