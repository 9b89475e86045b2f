//! What a file of a data directory holds, from its path alone.

use postgres_ffi::slru::parse_slru_segment_file_name;
use postgres_ffi::{
    DEFAULTTABLESPACE_OID, ForkNumber, GLOBALTABLESPACE_OID, Oid, RELSEG_SIZE, RelTag, SlruKind,
};

use super::ImportError;
use super::tablespaces::{TABLESPACE_MAP, TablespacePath};

/// A file whose contents are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataFile {
    ControlFile,
    RelMap { spcnode: Oid, dbnode: Oid },
    Relation { rel: RelTag, segment: u32 },
    Slru { kind: SlruKind, segment: u32 },
    TwoPhase { xid: u64 },
    TablespaceMap,
}

/// Judges a path below the data directory; `None` if the file is of no interest.
pub(super) fn classify(relative: &str) -> Result<Option<DataFile>, ImportError> {
    let error = |reason| ImportError::UnrecognizedFile { path: relative.to_owned(), reason };
    let (directory, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    if name.starts_with('.') || name == "PG_VERSION" {
        return Ok(None);
    }
    if relative == TABLESPACE_MAP {
        return Ok(Some(DataFile::TablespaceMap));
    }
    if let Some(kind) = SlruKind::ALL.into_iter().find(|kind| kind.directory() == directory) {
        let segment = parse_slru_segment_file_name(name)
            .ok_or_else(|| error("not the name of an SLRU segment"))?;
        return Ok(Some(DataFile::Slru { kind, segment }));
    }
    if directory == "pg_twophase" {
        let xid = u64::from_str_radix(name, 16)
            .map_err(|_| error("not the name of a prepared transaction"))?;
        return Ok(Some(DataFile::TwoPhase { xid }));
    }
    let Some((spcnode, database)) = tablespace_of(relative, directory)? else { return Ok(None) };
    let dbnode = database.parse().map_err(|_| error("not in the directory of a database"))?;
    match name {
        "pg_control" if directory == "global" => Ok(Some(DataFile::ControlFile)),
        "pg_filenode.map" => Ok(Some(DataFile::RelMap { spcnode, dbnode })),
        name => {
            let (relnode, fork, segment) = parse_relation_name(name)
                .ok_or_else(|| error("not the name of a relation file"))?;
            let rel = RelTag { spcnode, dbnode, relnode, fork };
            Ok(Some(DataFile::Relation { rel, segment }))
        }
    }
}

/// The tablespace that a directory belongs to, and the name of the database's directory in it; `None`
/// if it belongs to none.
fn tablespace_of<'a>(
    relative: &'a str,
    directory: &'a str,
) -> Result<Option<(Oid, &'a str)>, ImportError> {
    if let Some(path) = TablespacePath::parse(relative)? {
        let database = path.rest.rsplit_once('/').map_or("", |(database, _)| database);
        return Ok(Some((path.spcnode, database)));
    }
    Ok(match directory.strip_prefix("base/") {
        _ if directory == "global" => Some((GLOBALTABLESPACE_OID, "0")),
        Some(database) => Some((DEFAULTTABLESPACE_OID, database)),
        None => None,
    })
}

/// Number, fork and segment of a relation file, such as `16384_fsm.1`.
fn parse_relation_name(name: &str) -> Option<(Oid, ForkNumber, u32)> {
    let (name, segment) = match name.split_once('.') {
        Some((name, segment)) => (name, segment.parse().ok()?),
        None => (name, 0),
    };
    if segment > u32::MAX / RELSEG_SIZE {
        return None;
    }
    let fork_of = |suffix: &str| {
        ForkNumber::ALL.into_iter().find(|f| f.suffix().strip_prefix('_') == Some(suffix))
    };
    let (relnode, fork) = match name.split_once('_') {
        Some((relnode, suffix)) => (relnode, fork_of(suffix)?),
        None => (name, ForkNumber::Main),
    };
    Some((relnode.parse().ok()?, fork, segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(path: &str) -> (u32, u32, u32, ForkNumber, u32) {
        match classify(path).unwrap().unwrap() {
            DataFile::Relation { rel, segment } => {
                (rel.spcnode, rel.dbnode, rel.relnode, rel.fork, segment)
            }
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn relation_files_are_recognised() {
        assert_eq!(relation("base/5/16384"), (1663, 5, 16_384, ForkNumber::Main, 0));
        assert_eq!(relation("base/5/16384.2"), (1663, 5, 16_384, ForkNumber::Main, 2));
        assert_eq!(relation("base/5/16384_vm"), (1663, 5, 16_384, ForkNumber::VisibilityMap, 0));
        assert_eq!(relation("global/1262_fsm.1"), (1664, 0, 1262, ForkNumber::Fsm, 1));
    }

    #[test]
    fn relation_files_in_tablespaces_are_recognised() {
        let directory = "pg_tblspc/16400/PG_15_202209061";
        let expected = (16_400, 5, 16_384, ForkNumber::Init, 1);
        assert_eq!(relation(&format!("{directory}/5/16384_init.1")), expected);
        let map = DataFile::RelMap { spcnode: 16_400, dbnode: 5 };
        assert_eq!(classify(&format!("{directory}/5/pg_filenode.map")).unwrap(), Some(map));
        assert_eq!(classify(&format!("{directory}/5/PG_VERSION")).unwrap(), None);
        for path in ["16384", "pgsql_tmp/1.0", "5/below/16384"] {
            assert!(classify(&format!("{directory}/{path}")).is_err(), "{path}");
        }
        assert!(classify("pg_tblspc/16400/16384").is_err());
    }

    #[test]
    fn other_files_of_a_database_are_refused() {
        for path in ["base/5/pg_internal.init", "base/5/16384_", "base/5/x", "base/pgsql_tmp/1.0"] {
            assert!(classify(path).is_err(), "{path}");
        }
    }

    #[test]
    fn configuration_is_of_no_interest() {
        for path in ["postgresql.conf", "PG_VERSION", "base/1/PG_VERSION", ".hidden"] {
            assert_eq!(classify(path).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn slru_segments_and_maps_are_recognised() {
        let offsets = DataFile::Slru { kind: SlruKind::MultiXactOffsets, segment: 0x1A };
        assert_eq!(classify("pg_multixact/offsets/001A").unwrap(), Some(offsets));
        let map = DataFile::RelMap { spcnode: 1664, dbnode: 0 };
        assert_eq!(classify("global/pg_filenode.map").unwrap(), Some(map));
        let prepared = DataFile::TwoPhase { xid: 0x1_0000_02BC };
        assert_eq!(classify("pg_twophase/00000001000002BC").unwrap(), Some(prepared));
    }
}
