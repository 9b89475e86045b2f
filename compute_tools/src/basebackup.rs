//! Receiving the base backup: a tar inside a COPY stream becomes a data directory.
//!
//! `global/pg_control` is held back for the caller to write when everything else is in place:
//! a directory without it does not start, so a broken one cannot be mistaken for a good one.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use crate::status::StatusBoard;

/// Path of the control file inside a data directory.
pub const CONTROL_FILE: &str = "global/pg_control";

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// What was received.
#[derive(Debug, Default)]
pub struct Backup {
    /// Bytes of the tar.
    pub size_bytes: u64,
    /// Regular files.
    pub files: u64,
    /// Content of `global/pg_control`.
    pub control_file: Vec<u8>,
    /// Paths of WAL segments that came along, relative to the data directory.
    pub wal_segments: Vec<Utf8PathBuf>,
}

/// The backup could not be received or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The stream broke, the server reported an error, or the tar is damaged.
    #[error("the base backup broke off after {received_bytes} bytes: {source}")]
    Stream {
        /// Bytes received before.
        received_bytes: u64,
        /// The reason; a server's own words if it sent any.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An entry that has no place in a data directory.
    #[error("the base backup has an unusable entry {path:?}: {reason}")]
    Entry {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Without a control file there is no cluster.
    #[error("the base backup has no {CONTROL_FILE}; it is incomplete")]
    NoControlFile,
    /// The worker thread died.
    #[error("unpacking the base backup was aborted")]
    Aborted,
}

/// Unpacks the stream into `target` while it arrives.
pub async fn unpack(
    stream: impl AsyncRead + Send + Unpin + 'static,
    target: Utf8PathBuf,
    board: Arc<StatusBoard>,
) -> Result<Backup, BackupError> {
    let bridge = SyncIoBridge::new(stream);
    let worker = tokio::task::spawn_blocking(move || {
        let mut unpacker = Unpacker { target, backup: Backup::default() };
        let progress = Progress { inner: bridge, board, total_bytes: 0, last: Instant::now() };
        let mut reader = io::BufReader::with_capacity(READ_BUFFER_BYTES, progress);
        let outcome = unpacker.run(&mut reader);
        let received_bytes = reader.get_ref().total_bytes;
        outcome.map_err(|error| error.after(received_bytes))?;
        unpacker.backup.size_bytes = received_bytes;
        Ok(unpacker.backup)
    });
    let backup = worker.await.map_err(|_| BackupError::Aborted)??;
    if backup.control_file.is_empty() {
        return Err(BackupError::NoControlFile);
    }
    Ok(backup)
}

impl BackupError {
    fn stream(source: io::Error) -> Self {
        Self::Stream { received_bytes: 0, source }
    }

    fn after(self, received_bytes: u64) -> Self {
        match self {
            Self::Stream { source, .. } => Self::Stream { received_bytes, source },
            other => other,
        }
    }
}

struct Unpacker {
    target: Utf8PathBuf,
    backup: Backup,
}

impl Unpacker {
    fn run(&mut self, reader: &mut impl Read) -> Result<(), BackupError> {
        let mut archive = tar::Archive::new(&mut *reader);
        for entry in archive.entries().map_err(BackupError::stream)? {
            self.unpack_entry(entry.map_err(BackupError::stream)?)?;
        }
        // The server confirms success, or reports a late failure, after the last entry.
        io::copy(reader, &mut io::sink()).map_err(BackupError::stream)?;
        Ok(())
    }

    fn unpack_entry(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), BackupError> {
        let bytes = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let unusable = |reason| BackupError::Entry { path: shown.clone(), reason };
        let path = relative_path(&bytes).map_err(unusable)?;
        let full = self.target.join(&path);
        match entry.header().entry_type() {
            tar::EntryType::Directory => std::fs::create_dir_all(&full)
                .map_err(|source| BackupError::Write { path: full, source }),
            tar::EntryType::Regular | tar::EntryType::GNUSparse if path == CONTROL_FILE => {
                entry.read_to_end(&mut self.backup.control_file).map_err(BackupError::stream)?;
                Ok(())
            }
            tar::EntryType::Regular | tar::EntryType::GNUSparse => {
                write_file(&mut entry, &full)?;
                self.backup.files += 1;
                if path.starts_with("pg_wal") {
                    self.backup.wal_segments.push(path);
                }
                Ok(())
            }
            _ => Err(unusable("it is neither a file nor a directory")),
        }
    }
}

fn write_file(entry: &mut impl Read, path: &Utf8Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    let mut file = match create_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            std::fs::create_dir_all(parent).map_err(failed)?;
            create_file(path)
        }
        outcome => outcome,
    }
    .map_err(failed)?;
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    loop {
        let length = entry.read(&mut buffer).map_err(BackupError::stream)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        io::Write::write_all(&mut file, bytes).map_err(failed)?;
    }
}

fn create_file(path: &Utf8Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The path of an entry, which must stay inside the data directory.
fn relative_path(bytes: &[u8]) -> Result<Utf8PathBuf, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its path is not UTF-8")?;
    let mut path = Utf8PathBuf::new();
    for component in Utf8Path::new(text).components() {
        match component {
            Utf8Component::Normal(name) => path.push(name),
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir | Utf8Component::RootDir | Utf8Component::Prefix(_) => {
                return Err("its path leads out of the data directory");
            }
        }
    }
    Ok(path)
}

/// Counts what passes and reports it now and then.
struct Progress<R> {
    inner: R,
    board: Arc<StatusBoard>,
    total_bytes: u64,
    last: Instant,
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(target)?;
        self.total_bytes += length as u64;
        self.board.add_basebackup_bytes(length as u64);
        if self.last.elapsed() >= PROGRESS_INTERVAL {
            self.last = Instant::now();
            tracing::info!("base backup: {} MiB received", self.total_bytes >> 20);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
