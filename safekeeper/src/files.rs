//! The file operations that a timeline's durability rests on, behind one interface.
//!
//! WAL segments and control files are written through it alone, so that the very code which
//! decides when to sync, rename and truncate can also run on a simulated disk that loses what was
//! not synced. Everything here blocks.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use camino::Utf8Path;

use crate::durability::Durability;

/// Zeros are written in pieces of this many bytes.
const ZERO_CHUNK_BYTES: usize = 256 * 1024;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    Write,
    /// Reading and writing a file that is new, or emptied.
    Create,
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads up to the buffer's length; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`, making the file longer if need be.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes zeros, making the file longer if need be.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()>;
    /// Forces the content, and whatever metadata reading it needs, to disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Forces the content and all metadata to disk.
    fn sync_all(&self) -> io::Result<()>;
}

/// A tree of files.
pub trait FileSystem: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Utf8Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Utf8Path) -> io::Result<()>;
    /// The names of everything in a directory.
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>>;
    /// Forces the entries of a directory (creations, renames, removals) to disk.
    fn sync_dir(&self, dir: &Utf8Path) -> io::Result<()>;

    /// Begins to make a file of `length` zeros that is forced to disk, its name not included. It
    /// may be made while other things are done.
    fn begin_zeros(&self, path: &Utf8Path, length: u64) -> PendingFile {
        PendingFile::Done(make_zeros(self, path, length))
    }
}

/// A file in the making.
#[derive(Debug)]
pub enum PendingFile {
    /// It is there, or failed.
    Done(io::Result<Box<dyn DiskFile>>),
    /// A thread makes it.
    Running(JoinHandle<io::Result<Box<dyn DiskFile>>>),
}

impl PendingFile {
    /// Waits for the file, which is open for writing then.
    pub fn wait(self) -> io::Result<Box<dyn DiskFile>> {
        match self {
            PendingFile::Done(made) => made,
            PendingFile::Running(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
            }
        }
    }
}

/// A new file of `length` zeros, forced to disk, its name not included. Nothing stays of one that
/// could not be made: the disk may be full, and others need what room there is.
fn make_zeros(
    files: &(impl FileSystem + ?Sized),
    path: &Utf8Path,
    length: u64,
) -> io::Result<Box<dyn DiskFile>> {
    let file = files.open(path, Access::Create)?;
    match file.write_zeros(0..length).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(file),
        Err(error) => {
            if let Err(failure) = files.remove(path) {
                tracing::warn!("the incomplete file {path} stays: {failure}");
            }
            Err(error)
        }
    }
}

/// A shared file system.
pub type Files = Arc<dyn FileSystem>;

/// The operating system's files, synced as the operator wants it.
pub fn local(durability: Durability) -> Files {
    static SYNCED: LazyLock<Files> = LazyLock::new(|| Arc::new(LocalFiles(Durability::Synced)));
    static UNSYNCED: LazyLock<Files> = LazyLock::new(|| Arc::new(LocalFiles(Durability::Unsynced)));
    match durability {
        Durability::Synced => SYNCED.clone(),
        Durability::Unsynced => UNSYNCED.clone(),
    }
}

#[derive(Clone, Copy, Debug)]
struct LocalFiles(Durability);

#[derive(Debug)]
struct LocalFile {
    file: File,
    durability: Durability,
}

impl FileSystem for LocalFiles {
    fn open(&self, path: &Utf8Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        options.create(access == Access::Create).truncate(access == Access::Create);
        Ok(Box::new(LocalFile { file: options.open(path)?, durability: self.0 }))
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // Names that are not UTF-8 cannot be ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn begin_zeros(&self, path: &Utf8Path, length: u64) -> PendingFile {
        let (files, path) = (*self, path.to_owned());
        let thread = thread::Builder::new().name("wal zeros".to_owned());
        match thread.spawn(move || make_zeros(&files, &path, length)) {
            Ok(thread) => PendingFile::Running(thread),
            Err(error) => PendingFile::Done(Err(error)),
        }
    }
}

impl DiskFile for LocalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0u8; ZERO_CHUNK_BYTES];
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(zeros.len() as u64);
            let chunk = zeros.get(..length as usize).unwrap_or(&zeros);
            self.file.write_all_at(chunk, offset)?;
            offset += length;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.durability.sync_data(&self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.durability.sync_all(&self.file)
    }
}
