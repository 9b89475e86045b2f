//! Whether and how writes are forced to disk.
//!
//! One value decides for the whole process, so that `--no-sync` cannot be half applied.

use std::fs::File;
use std::io;

use camino::Utf8Path;

/// How much durability the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Every promise is backed by fsync.
    Synced,
    /// `--no-sync`: nothing survives an operating system crash. For tests.
    Unsynced,
}

impl Durability {
    /// Forces a file's data, and whatever metadata reading it needs, to disk.
    pub fn sync_data(self, file: &File) -> io::Result<()> {
        match self {
            Durability::Synced => file.sync_data(),
            Durability::Unsynced => Ok(()),
        }
    }

    /// Forces a file and all its metadata to disk.
    pub fn sync_all(self, file: &File) -> io::Result<()> {
        match self {
            Durability::Synced => file.sync_all(),
            Durability::Unsynced => Ok(()),
        }
    }

    /// Forces the entries of a directory (creations, renames, removals) to disk.
    pub fn sync_dir(self, dir: &Utf8Path) -> io::Result<()> {
        match self {
            Durability::Synced => File::open(dir)?.sync_all(),
            Durability::Unsynced => Ok(()),
        }
    }
}
