//! The tablespaces of the user in a data directory that is imported.
//!
//! Gathers what the directory or archive says of them while it is read; at the end checks that
//! nothing is missing. A tablespace must come as a directory in `pg_tblspc`, or in its place.

use std::collections::BTreeMap;

use postgres_ffi::tablespace::{TABLESPACES_DIRECTORY, version_directory};
use postgres_ffi::{ControlFile, Oid};

use super::ImportError;
use crate::keymap::{DatadirModification, KeyStore};

/// The file in which `pg_basebackup -Ft` lists the tablespaces that are in archives of their own.
pub(super) const TABLESPACE_MAP: &str = "tablespace_map";

/// A path in a tablespace, taken apart: `pg_tblspc/16400/PG_15_202209061/5/16401`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TablespacePath<'a> {
    pub(super) spcnode: Oid,
    /// The directory of a server version, if the path goes so far.
    pub(super) version: Option<&'a str>,
    /// What is below that.
    pub(super) rest: &'a str,
}

/// What is known of the tablespaces.
#[derive(Debug, Default)]
pub(super) struct Tablespaces {
    /// Those that have a directory, and a path in each directory of a server version.
    found: BTreeMap<Oid, BTreeMap<String, String>>,
    /// Those that are outside the data directory, and where.
    elsewhere: BTreeMap<Oid, String>,
}

impl<'a> TablespacePath<'a> {
    /// `None` if the path is not in `pg_tblspc`.
    pub(super) fn parse(relative: &'a str) -> Result<Option<Self>, ImportError> {
        let Some(below) = relative.strip_prefix(TABLESPACES_DIRECTORY) else { return Ok(None) };
        let Some(below) = below.strip_prefix('/').filter(|below| !below.is_empty()) else {
            return Ok(None);
        };
        let mut parts = below.splitn(3, '/');
        let spcnode = parts.next().and_then(|part| part.parse().ok());
        let spcnode = spcnode.ok_or_else(|| ImportError::UnrecognizedFile {
            path: relative.to_owned(),
            reason: "not the directory of a tablespace",
        })?;
        let version = parts.next().filter(|part| !part.is_empty());
        Ok(Some(TablespacePath { spcnode, version, rest: parts.next().unwrap_or_default() }))
    }
}

impl Tablespaces {
    /// Takes the path of a file or directory, which need not be in a tablespace.
    pub(super) fn note(&mut self, relative: &str) -> Result<(), ImportError> {
        if let Some(path) = TablespacePath::parse(relative)? {
            let versions = self.found.entry(path.spcnode).or_default();
            if let Some(version) = path.version
                && !versions.contains_key(version)
            {
                versions.insert(version.to_owned(), relative.to_owned());
            }
        }
        Ok(())
    }

    /// Takes the contents of `tablespace_map`: lines of a number, a space and a path, in which
    /// backslashes protect line ends and backslashes.
    pub(super) fn read_map(&mut self, content: &[u8]) -> Result<(), ImportError> {
        let malformed = || ImportError::UnrecognizedFile {
            path: TABLESPACE_MAP.to_owned(),
            reason: "malformed",
        };
        let mut lines = vec![Vec::new()];
        let mut bytes = content.iter().copied();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'\n' | b'\r' => {
                    lines.push(Vec::new());
                    continue;
                }
                b'\\' => bytes.next().ok_or_else(malformed)?,
                byte => byte,
            };
            lines.last_mut().ok_or_else(malformed)?.push(byte);
        }
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let (spcnode, location) = line.split_once(' ').ok_or_else(malformed)?;
            let spcnode = spcnode.parse().map_err(|_| malformed())?;
            self.elsewhere.insert(spcnode, location.to_owned());
        }
        Ok(())
    }

    /// Checks that every tablespace is there and of the server that the control file is of, and
    /// remembers them, the empty ones too.
    pub(super) async fn finish<S: KeyStore>(
        self,
        control_file: &ControlFile,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), ImportError> {
        let is_missing = |(spcnode, _): &(Oid, String)| !self.found.contains_key(spcnode);
        if let Some((spcnode, location)) = self.elsewhere.into_iter().find(is_missing) {
            return Err(ImportError::TablespaceElsewhere { spcnode, location });
        }
        let expected = version_directory(control_file.major(), control_file.catalog_version());
        for (spcnode, versions) in self.found {
            if let Some((_, path)) = versions.into_iter().find(|(found, _)| *found != expected) {
                return Err(ImportError::TablespaceVersion { path, expected });
            }
            modification.create_tablespace(spcnode).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
