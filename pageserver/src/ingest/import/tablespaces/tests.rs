use postgres_ffi::PgMajor;
use utils::Lsn;

use super::*;
use crate::keymap::Keymap;
use crate::keymap::memory::MemoryStore;

const VERSION_DIRECTORY: &str = "PG_15_202209061";

/// The control file of a cluster of PostgreSQL 15.
pub(in crate::ingest::import) fn control_file() -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    bytes[8..12].copy_from_slice(&1300u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&202_209_061u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The tablespaces that a timeline has after an import.
async fn finish(tablespaces: Tablespaces) -> Result<Vec<Oid>, ImportError> {
    let store = MemoryStore::new(PgMajor::V15);
    let mut modification = DatadirModification::begin(&store, PgMajor::V15, Lsn(0x100));
    modification.init_empty();
    let control_file = ControlFile::parse(&control_file()).unwrap();
    tablespaces.finish(&control_file, &mut modification).await?;
    modification.commit().await.unwrap();
    let databases = Keymap::at(&store, Lsn(0x100)).databases().await.unwrap();
    assert!(databases.keys().all(|(_, dbnode)| *dbnode == 0));
    Ok(databases.into_keys().map(|(spcnode, _)| spcnode).collect())
}

fn noted(paths: &[&str]) -> Tablespaces {
    let mut tablespaces = Tablespaces::default();
    for path in paths {
        tablespaces.note(path).unwrap();
    }
    tablespaces
}

#[test]
fn a_path_in_a_tablespace_is_taken_apart() {
    for (path, expected) in [
        ("base/5/1259", None),
        ("pg_tblspc", None),
        ("pg_tblspc_old/1/x", None),
        ("pg_tblspc/16400", Some((16_400, None, ""))),
        ("pg_tblspc/16400/PG_15_1", Some((16_400, Some("PG_15_1"), ""))),
        ("pg_tblspc/16400/PG_15_1/5/1_fsm", Some((16_400, Some("PG_15_1"), "5/1_fsm"))),
    ] {
        let parsed = TablespacePath::parse(path).unwrap();
        assert_eq!(parsed.map(|p| (p.spcnode, p.version, p.rest)), expected, "{path}");
    }
    assert!(TablespacePath::parse("pg_tblspc/somewhere/PG_15_1").is_err());
}

#[tokio::test]
async fn tablespaces_in_place_are_remembered_empty_or_not() {
    let file = format!("pg_tblspc/16401/{VERSION_DIRECTORY}/5/16500");
    let tablespaces = noted(&["pg_tblspc", "pg_tblspc/16400", &file, "base/5/16500"]);
    assert_eq!(finish(tablespaces).await.unwrap(), [16_400, 16_401]);
}

#[tokio::test]
async fn a_tablespace_of_the_map_must_have_come_along() {
    let map = b"16400 /srv/fast\n16401 /srv/with a space\\\\ and\\\nmore\n";
    let mut tablespaces = noted(&["pg_tblspc/16400", "pg_tblspc/16401"]);
    tablespaces.read_map(map).unwrap();
    assert_eq!(finish(tablespaces).await.unwrap(), [16_400, 16_401]);
    let mut tablespaces = noted(&["pg_tblspc/16400"]);
    tablespaces.read_map(map).unwrap();
    let error = finish(tablespaces).await.unwrap_err().to_string();
    for part in ["tablespace 16401", r#""/srv/with a space\\ and\nmore""#, "16401.tar"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_map_that_is_not_one_is_refused() {
    for map in ["16400", "16400 /a\nx /b", "16400 /a\\"] {
        assert!(Tablespaces::default().read_map(map.as_bytes()).is_err(), "{map:?}");
    }
}

#[tokio::test]
async fn files_of_another_server_version_are_refused() {
    let file = format!("pg_tblspc/16400/{VERSION_DIRECTORY}/5/16500");
    let tablespaces = noted(&[&file, "pg_tblspc/16400/PG_14_202107181/5/16500"]);
    let error = finish(tablespaces).await.unwrap_err().to_string();
    assert!(error.contains("pg_tblspc/16400/PG_14_202107181/5/16500"), "{error}");
    assert!(error.contains(VERSION_DIRECTORY), "{error}");
}
