//! Compares a timeline's contents with a data directory that was shut down cleanly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pageserver_api::Key;
use postgres_ffi::page::{Page, page_is_new, page_lsn};
use postgres_ffi::slru::{
    CLOG_XACTS_PER_PAGE, MULTIXACT_OFFSETS_PER_PAGE, commit_ts_page, multixact_members_page,
    parse_slru_segment_file_name,
};
use postgres_ffi::{
    BLCKSZ, ControlFile, DEFAULTTABLESPACE_OID, ForkNumber, GLOBALTABLESPACE_OID, PgMajor, RelTag,
    SlruKind,
};
use utils::Lsn;

use crate::keymap::memory::MemoryStore;
use crate::keymap::{KeyStore, Keymap};

/// Databases from here on are made by users.
const FIRST_NORMAL_OID: u32 = 16_384;

type Contents<'a> = Keymap<'a, MemoryStore>;

/// Panics at the first difference.
pub(super) async fn compare(store: &MemoryStore, major: PgMajor, pgdata: &Path) {
    let contents = Keymap::at(store, store.last_record_lsn());
    compare_databases(contents, pgdata).await;
    compare_relations(contents, pgdata).await;
    let control =
        ControlFile::parse(&std::fs::read(pgdata.join("global/pg_control")).unwrap()).unwrap();
    compare_checkpoint(contents, &control).await;
    compare_slrus(contents, &control, pgdata).await;
    compare_two_phase(contents, major, pgdata).await;
    let blocks = contents.logical_blocks().await.unwrap();
    assert_eq!(store.logical_blocks(), blocks as i64, "incremental logical size");
    compare_keyspace(contents, store, major).await;
}

/// Subdirectories that are named by a number.
fn numbered(directory: &Path) -> Vec<(u32, PathBuf)> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
    paths.filter_map(|path| Some((number(&path)?, path))).collect()
}

/// The directories with relation files: of the standard tablespaces, and of those in place, by
/// tablespace and database. A tablespace itself is its database 0.
pub(super) fn database_directories(pgdata: &Path) -> BTreeMap<(u32, u32), PathBuf> {
    let mut found = BTreeMap::from([((GLOBALTABLESPACE_OID, 0), pgdata.join("global"))]);
    for (dbnode, path) in numbered(&pgdata.join("base")) {
        found.insert((DEFAULTTABLESPACE_OID, dbnode), path);
    }
    for (spcnode, path) in numbered(&pgdata.join("pg_tblspc")) {
        let versions: Vec<PathBuf> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [version] = versions.as_slice() else { panic!("tablespace {spcnode}: {versions:?}") };
        for (dbnode, path) in numbered(version) {
            found.insert((spcnode, dbnode), path);
        }
        found.insert((spcnode, 0), path);
    }
    found
}

async fn compare_databases(contents: Contents<'_>, pgdata: &Path) {
    let expected = database_directories(pgdata);
    let databases = contents.databases().await.unwrap();
    assert_eq!(databases.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for ((spcnode, dbnode), directory) in expected {
        let map = directory.join("pg_filenode.map");
        assert_eq!(databases[&(spcnode, dbnode)], map.exists(), "{}", map.display());
        if map.exists() {
            let stored = contents.relmap(spcnode, dbnode).await.unwrap();
            assert!(stored == std::fs::read(&map).unwrap(), "{}", map.display());
        }
    }
}

/// Relation files of a directory with their pages, segments joined.
pub(super) fn relation_files(
    directory: &Path,
    spcnode: u32,
    dbnode: u32,
) -> BTreeMap<RelTag, Vec<u8>> {
    let mut segments: BTreeMap<(RelTag, u32), Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (base, segment) = name.split_once('.').unwrap_or((&name, "0"));
        let (number, suffix) = base.split_once('_').unwrap_or((base, ""));
        let (Ok(relnode), Ok(segment)) = (number.parse(), segment.parse()) else { continue };
        let mut forks = ForkNumber::ALL.into_iter();
        let fork = forks.find(|fork| fork.suffix().trim_start_matches('_') == suffix).unwrap();
        let rel = RelTag { spcnode, dbnode, relnode, fork };
        segments.insert((rel, segment), std::fs::read(entry.path()).unwrap());
    }
    let mut files: BTreeMap<RelTag, Vec<u8>> = BTreeMap::new();
    for ((rel, _), bytes) in segments {
        files.entry(rel).or_default().extend(bytes);
    }
    files
}

async fn compare_relations(contents: Contents<'_>, pgdata: &Path) {
    for ((spcnode, dbnode), directory) in database_directories(pgdata) {
        let files = relation_files(&directory, spcnode, dbnode);
        let stored = contents.relations(spcnode, dbnode).await.unwrap();
        // Free space maps are not logged; neither are unlogged relations but for init forks.
        let unlogged: BTreeSet<u32> =
            files.keys().filter(|r| r.fork == ForkNumber::Init).map(|r| r.relnode).collect();
        let logged = |rel: &&RelTag| match rel.fork {
            ForkNumber::Fsm => false,
            ForkNumber::Init => true,
            ForkNumber::Main | ForkNumber::VisibilityMap => !unlogged.contains(&rel.relnode),
        };
        // Making room in a visibility map is not logged either, only setting bits is.
        let void = |rel: &&RelTag| {
            rel.fork == ForkNumber::VisibilityMap
                && !stored.contains(*rel)
                && files[*rel].chunks(BLCKSZ).all(|page| page[24..].iter().all(|b| *b == 0))
        };
        let expected: BTreeSet<&RelTag> =
            files.keys().filter(logged).filter(|rel| !void(rel)).collect();
        let found: BTreeSet<&RelTag> = stored.iter().filter(logged).collect();
        let differ: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(differ.is_empty(), "relations of {dbnode} that exist on one side only: {differ:?}");
        for rel in expected {
            compare_relation(contents, *rel, &files[rel]).await;
        }
    }
}

/// Sizes must agree, and pages must come from the same record. (Contents may differ in hints.)
async fn compare_relation(contents: Contents<'_>, rel: RelTag, file: &[u8]) {
    // Servers from 16 on make room ahead without logging it.
    let room = |page: &&[u8]| page.iter().all(|byte| *byte == 0);
    let used = file.len() / BLCKSZ - file.rchunks(BLCKSZ).take_while(room).count();
    let blocks = contents.rel_size(rel).await.unwrap() as usize;
    assert!((used..=file.len() / BLCKSZ).contains(&blocks), "{rel} has {blocks}, {used} used");
    let file = &file[..blocks * BLCKSZ];
    for (block, expected) in (0..).zip(file.chunks(BLCKSZ)) {
        let key = Key::rel_block(rel, block);
        let stored = contents.get(key).await.unwrap_or_else(|e| panic!("{rel}/{block}: {e:?}"));
        let stored: &Page = stored.as_ref().try_into().unwrap();
        let expected: &Page = expected.try_into().unwrap();
        if page_is_new(expected) {
            continue;
        }
        if rel.fork == ForkNumber::VisibilityMap {
            // PostgreSQL does not set the LSN when it clears bits. And it logs the maps of a
            // database that is copied through the WAL without their bits.
            let copied = rel.dbnode >= FIRST_NORMAL_OID;
            let mut bits = stored.iter().zip(expected).skip(24);
            let differs = bits.position(|(a, b)| if copied { a & !b != 0 } else { a != b });
            let found = differs.map(|at| (at, stored[24 + at], expected[24 + at]));
            assert_eq!(found, None, "first different bits of {rel} block {block}");
        } else {
            let (found, wanted) = (page_lsn(stored), page_lsn(expected));
            // Building a GiST index leaves a mark instead of the LSN of the image it logs.
            let gist_build = wanted == Lsn(1);
            assert!(gist_build || found == wanted, "{rel} block {block}: {found}, not {wanted}");
        }
    }
}

async fn compare_checkpoint(contents: Contents<'_>, control: &ControlFile) {
    let (stored, expected) = (contents.checkpoint().await.unwrap(), control.checkpoint());
    assert!(stored.next_xid >= expected.next_xid, "{stored:?} {expected:?}");
    assert!(stored.next_xid < expected.next_xid + 1024, "{stored:?} {expected:?}");
    assert_eq!(stored.redo, expected.redo);
    assert_eq!(stored.next_oid, expected.next_oid);
    assert_eq!(stored.next_multi, expected.next_multi);
    assert_eq!(stored.next_multi_offset, expected.next_multi_offset);
    assert_eq!(stored.oldest_xid, expected.oldest_xid);
    assert_eq!(stored.oldest_xid_db, expected.oldest_xid_db);
    assert_eq!(stored.oldest_multi, expected.oldest_multi);
    assert_eq!(stored.oldest_commit_ts_xid, expected.oldest_commit_ts_xid);
    assert_eq!(stored.newest_commit_ts_xid, expected.newest_commit_ts_xid);
    let tracks = contents.tracks_commit_timestamps().await.unwrap();
    assert_eq!(tracks, control.track_commit_timestamp());
}

/// SLRU pages in use must agree byte for byte.
async fn compare_slrus(contents: Contents<'_>, control: &ControlFile, pgdata: &Path) {
    let checkpoint = control.checkpoint();
    for kind in SlruKind::ALL {
        let last_page = match kind {
            SlruKind::Clog => (checkpoint.next_xid_low() - 1) / CLOG_XACTS_PER_PAGE,
            SlruKind::MultiXactOffsets => checkpoint.next_multi / MULTIXACT_OFFSETS_PER_PAGE,
            SlruKind::MultiXactMembers => multixact_members_page(checkpoint.next_multi_offset),
            SlruKind::CommitTs => commit_ts_page(checkpoint.next_xid_low()),
        };
        let stored = contents.slru_segments(kind).await.unwrap();
        let mut segments = BTreeSet::new();
        for entry in std::fs::read_dir(pgdata.join(kind.directory())).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let segment = parse_slru_segment_file_name(&name).unwrap();
            assert!(stored.contains(&segment), "{kind:?} segment {segment}");
            segments.insert(segment);
            let file = std::fs::read(entry.path()).unwrap();
            for (block, expected) in (0..).zip(file.chunks(BLCKSZ)) {
                if segment * 32 + block > last_page {
                    continue;
                }
                let page = contents.get(Key::slru_block(kind, segment, block)).await.unwrap();
                let at = page[..BLCKSZ].iter().zip(expected).position(|(a, b)| a != b);
                assert_eq!(at, None, "first difference in {kind:?} page {segment}/{block}");
            }
        }
        if kind == SlruKind::CommitTs {
            // The others have pages ahead.
            assert_eq!(stored, segments, "segments of {kind:?}");
        }
    }
}

async fn compare_two_phase(contents: Contents<'_>, major: PgMajor, pgdata: &Path) {
    let mut expected = BTreeMap::new();
    for entry in std::fs::read_dir(pgdata.join("pg_twophase")).unwrap() {
        let entry = entry.unwrap();
        let xid = u64::from_str_radix(entry.file_name().to_str().unwrap(), 16).unwrap();
        let mut state = std::fs::read(entry.path()).unwrap();
        state.truncate(state.len() - 4);
        expected.insert(xid, state);
    }
    let stored = contents.two_phase_xids(major).await.unwrap();
    assert_eq!(stored.iter().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (xid, state) in expected {
        assert!(contents.two_phase_file(xid).await.unwrap() == state, "state of {xid}");
    }
}

/// Every key that compaction would make an image of can be read.
async fn compare_keyspace(contents: Contents<'_>, store: &MemoryStore, major: PgMajor) {
    let keys = contents.collect_keyspace(major).await.unwrap();
    assert!(!keys.dense.is_empty());
    for range in keys.dense.ranges {
        let mut key = range.start;
        while key < range.end {
            contents.get(key).await.unwrap_or_else(|e| panic!("{key}: {e:?}"));
            key = key.next();
        }
    }
    assert!(store.last_record_lsn() >= store.prev_record_lsn());
}
