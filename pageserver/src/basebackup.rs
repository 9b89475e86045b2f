//! A timeline at one LSN as a tar archive of a PostgreSQL data directory.
//!
//! Three kinds: without relation data, for servers that fetch pages themselves; with all data;
//! and with all data in a form that an unmodified server starts from. Reads through the key map
//! and streams: nothing larger than a batch of pages is held. Contents: docs/formats/basebackup.md.

use std::error::Error;
use std::io;

use postgres_ffi::control_file::ControlFile;
use postgres_ffi::tablespace::version_directory;
use postgres_ffi::{Oid, PgMajor, RelTag, SlruKind};
use tokio::io::AsyncWrite;
use utils::Lsn;

use crate::keymap::{KeyReadError, KeyReader, Keymap, KeymapError};

mod compute_files;
mod control;
mod extras;
mod relations;
mod slru;
mod tarball;

pub use tarball::Compression;

use tarball::Tarball;

/// Pages that are read in one pass over the layers.
pub const BATCH_KEYS: usize = 32;

/// What the archive contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// No relation data but the initial content of unlogged relations.
    Sparse {
        /// Leave SLRU segments to be fetched on demand.
        lazy_slru: bool,
    },
    /// All relation data; a server starts from it only after `pg_resetwal`.
    Full,
    /// All relation data and a shutdown checkpoint: an unmodified server starts from it.
    Bootable,
}

/// What to put into the archive.
#[derive(Clone, Copy, Debug)]
pub struct BackupRequest {
    /// Contents are as of this LSN.
    pub lsn: Lsn,
    /// End of the record before the last one (start of the last record), or 0 if unknown.
    pub prev_lsn: Lsn,
    /// Whether `lsn` is where the timeline branched off, so that no record precedes it.
    pub is_branch_point: bool,
    /// What kind of archive.
    pub kind: BackupKind,
    /// Version of the server.
    pub major: PgMajor,
}

/// Why no archive, or only the beginning of one, was sent.
#[derive(Debug, thiserror::Error)]
pub enum BasebackupError {
    /// The receiver went away.
    #[error("basebackup client error")]
    Client(#[source] io::Error),
    /// The timeline is shutting down.
    #[error("basebackup was cancelled because the timeline is shutting down")]
    Cancelled,
    /// The timeline's contents could not be read or make no sense.
    #[error("basebackup pageserver error")]
    Server(#[source] Box<dyn Error + Send + Sync>),
}

impl From<KeymapError> for BasebackupError {
    fn from(error: KeymapError) -> Self {
        if error.is_cancel() { Self::Cancelled } else { Self::Server(Box::new(error)) }
    }
}

impl From<KeyReadError> for BasebackupError {
    fn from(error: KeyReadError) -> Self {
        KeymapError::from(error).into()
    }
}

impl From<ContentError> for BasebackupError {
    fn from(error: ContentError) -> Self {
        Self::Server(Box::new(error))
    }
}

/// The timeline holds something that no data directory can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A relation map of the wrong size.
    #[error("relation map of database {database} has {length} bytes, {expected} are needed")]
    RelationMap {
        /// The database.
        database: Oid,
        /// Length found.
        length: usize,
        /// Length of this version's map files.
        expected: usize,
    },
    /// A block is not a page.
    #[error("block {block} of {rel} has {length} bytes, which is not a page")]
    NotAPage {
        /// The relation fork.
        rel: RelTag,
        /// The block.
        block: u32,
        /// Length found.
        length: usize,
    },
    /// A page was changed after the LSN of the backup, which recovery would not forgive.
    #[error("block {block} of {rel} has LSN {page_lsn}, which is beyond the backup's {lsn}")]
    PageFromTheFuture {
        /// The relation fork.
        rel: RelTag,
        /// The block.
        block: u32,
        /// The page's LSN.
        page_lsn: Lsn,
        /// The LSN of the backup.
        lsn: Lsn,
    },
    /// An SLRU page of the wrong size.
    #[error("page {block} of segment {segment:04X} in {directory} has {length} bytes")]
    SlruPage {
        /// The SLRU's directory.
        directory: &'static str,
        /// The segment.
        segment: u32,
        /// The page in it.
        block: u32,
        /// Length found.
        length: usize,
    },
    /// A replication slot's state file is too short to have a restart position.
    #[error("replication slot state {path} has only {length} bytes")]
    SlotState {
        /// Its path.
        path: String,
        /// Its length.
        length: usize,
    },
    /// The stored control file is damaged.
    #[error("the stored control file is damaged")]
    ControlFile(#[from] postgres_ffi::control_file::ControlFileError),
    /// A failpoint asked for an error.
    #[error("failpoint basebackup-before-control-file")]
    Failpoint,
}

/// Writes the archive to `output`, which is neither flushed at the end nor closed.
pub async fn send_basebackup<R, W>(
    reader: &R,
    request: &BackupRequest,
    compression: Compression,
    output: &mut W,
) -> Result<(), BasebackupError>
where
    R: KeyReader,
    W: AsyncWrite + Unpin + Send,
{
    let tar = Tarball::new(output, compression);
    let keymap = Keymap::at(reader, request.lsn);
    let stored = keymap.control_file().await?;
    let control_file = ControlFile::parse(&stored).map_err(ContentError::from)?;
    let has_checksums = control_file.data_checksum_version() != 0;
    let tracks_commit_timestamps = control_file.track_commit_timestamp();
    let version_directory = version_directory(request.major, control_file.catalog_version());
    Backup {
        reader,
        keymap,
        request,
        tar,
        has_checksums,
        tracks_commit_timestamps,
        version_directory,
    }
    .send()
    .await
}

/// An archive being written.
struct Backup<'a, R, W> {
    reader: &'a R,
    keymap: Keymap<'a, R>,
    request: &'a BackupRequest,
    tar: Tarball<'a, W>,
    /// Whether the server checks its pages.
    has_checksums: bool,
    /// Whether the server records commit timestamps when it starts.
    tracks_commit_timestamps: bool,
    /// The directory of this server's files in each tablespace of the user.
    version_directory: String,
}

impl<R: KeyReader, W: AsyncWrite + Unpin + Send> Backup<'_, R, W> {
    async fn send(mut self) -> Result<(), BasebackupError> {
        self.add_directories().await?;
        self.add_configuration().await?;
        if self.request.kind == (BackupKind::Sparse { lazy_slru: true }) {
            // Not to be had on demand.
            self.add_slru_segments(&[SlruKind::CommitTs]).await?;
        } else {
            self.add_slru_segments(&SlruKind::ALL).await?;
        }
        self.add_databases().await?;
        self.add_aux_files().await?;
        self.add_prepared_transactions().await?;
        self.add_replication_origins().await?;
        self.add_control_file_and_wal().await?;
        self.tar.finish().await.map_err(BasebackupError::Client)
    }

    /// Adds a whole file.
    async fn add_file(&mut self, path: &str, content: &[u8]) -> Result<(), BasebackupError> {
        self.tar.file(path, content).await.map_err(BasebackupError::Client)
    }
}

#[cfg(test)]
mod tests;
