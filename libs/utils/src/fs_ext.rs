//! Crash-safe file operations.
//!
//! Everything here blocks; async callers run it on the blocking pool. A function that
//! returns `Ok` has made its effect durable unless its documentation says otherwise.
//! Nothing is retried: after a failed fsync the caller cannot know what is on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Suffix of temporary files; whatever ends in it may be deleted at startup.
pub const TEMP_FILE_SUFFIX: &str = "___temp";

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {path:?}: {source}")]
pub struct FsError {
    /// What was attempted, as a verb phrase.
    pub operation: &'static str,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl FsError {
    fn wrap<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FsError + 'a {
        move |source| FsError { operation, path: path.to_owned(), source }
    }

    /// Whether the file or directory was not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the target existed already.
    pub fn is_already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Replaces the content of `path` so that a crash leaves either the old or the new content.
///
/// The bytes go through `<path>.___temp`, which is removed first if a crash left one.
pub fn write_crash_safe(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let mut temp = OsString::from(path.as_os_str());
    temp.push(".");
    temp.push(TEMP_FILE_SUFFIX);
    write_crash_safe_via(path, Path::new(&temp), bytes)
}

/// Like [`write_crash_safe`] with a temporary file chosen by the caller; it must lie in the
/// same directory as `path`.
pub fn write_crash_safe_via(path: &Path, temp: &Path, bytes: &[u8]) -> Result<(), FsError> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FsError::wrap("remove", temp)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(temp)
        .map_err(FsError::wrap("create", temp))?;
    file.write_all(bytes).map_err(FsError::wrap("write", temp))?;
    file.sync_all().map_err(FsError::wrap("fsync", temp))?;
    drop(file);
    fs::rename(temp, path).map_err(FsError::wrap("move a temporary file to", path))?;
    fsync_dir(parent_of(path))
}

/// Makes the entries of a directory (creations, renames, removals) durable.
pub fn fsync_dir(path: &Path) -> Result<(), FsError> {
    let dir = File::open(path).map_err(FsError::wrap("open directory", path))?;
    dir.sync_all().map_err(FsError::wrap("fsync directory", path))
}

/// Makes the content of a file durable.
pub fn fsync_file(path: &Path) -> Result<(), FsError> {
    let file = File::open(path).map_err(FsError::wrap("open", path))?;
    file.sync_all().map_err(FsError::wrap("fsync", path))
}

/// Renames `from` to `to` and fails when `to` exists. The rename is atomic but not yet
/// durable: the caller fsyncs the directory when it has renamed all it wants to.
pub fn rename_noreplace(from: &Path, to: &Path) -> Result<(), FsError> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
        .map_err(|errno| FsError::wrap("rename without replacement to", to)(errno.into()))
}

/// Whether a directory has no entries.
pub fn is_dir_empty(path: &Path) -> Result<bool, FsError> {
    let mut entries = fs::read_dir(path).map_err(FsError::wrap("list directory", path))?;
    Ok(entries.next().is_none())
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
