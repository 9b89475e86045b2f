//! Tablespaces of the user: which they are, and where their files are.

use crate::relfile::Oid;
use crate::version::PgMajor;
use crate::{DEFAULTTABLESPACE_OID, GLOBALTABLESPACE_OID};

/// The directory below a data directory that has one entry, a link or a directory, for each
/// tablespace of the user, named by its number.
pub const TABLESPACES_DIRECTORY: &str = "pg_tblspc";

/// Whether a tablespace is one that a user has created: neither of the two that every cluster
/// has, and not 0.
pub fn is_user_tablespace(spcnode: Oid) -> bool {
    !matches!(spcnode, 0 | DEFAULTTABLESPACE_OID | GLOBALTABLESPACE_OID)
}

/// Name of the directory in a tablespace that holds the files of one version of the server, such
/// as `PG_15_202209061` (PostgreSQL's `TABLESPACE_VERSION_DIRECTORY`).
pub fn version_directory(major: PgMajor, catalog_version: u32) -> String {
    format!("PG_{}_{catalog_version}", major.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablespaces_that_every_cluster_has_are_not_the_users() {
        for (spcnode, expected) in [(0, false), (1663, false), (1664, false), (16_384, true)] {
            assert_eq!(is_user_tablespace(spcnode), expected, "{spcnode}");
        }
    }

    #[test]
    fn a_version_directory_names_server_and_catalogs() {
        assert_eq!(version_directory(PgMajor::V16, 202_307_071), "PG_16_202307071");
    }
}
