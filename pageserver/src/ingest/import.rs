//! Turns a data directory that initdb made into a timeline's first contents.
//!
//! Reads files; writes one batch, then the WAL from the checkpoint on. Only clusters that were
//! shut down cleanly can be imported.

mod path;
mod tablespaces;
pub mod tarball;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::control_file::{ControlFileError, DB_SHUTDOWNED};
use postgres_ffi::slru::{SLRU_PAGES_PER_SEGMENT, SlruPage};
use postgres_ffi::xlog::segment::{partial_segment_file_name, segment_file_name};
use postgres_ffi::{
    BLCKSZ, BlockNumber, ControlFile, Oid, PgMajor, RELSEG_SIZE, RelTag, SlruKind, WAL_SEGMENT_SIZE,
};
use utils::Lsn;
use wal_decoder::{RecordDecodeError, WalDecodeError, WalStreamDecoder, record};

use self::path::{DataFile, classify};
use self::tablespaces::Tablespaces;
use super::{IngestError, WalIngest};
use crate::keymap::{DatadirModification, KeyStore, KeymapError, ModificationError};

/// Why a data directory could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what its place says.
    #[error("unrecognized file in postgres datadir: {path} ({reason})")]
    UnrecognizedFile {
        /// Path below the data directory.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The files of a tablespace are not there.
    #[error(
        "tablespace {spcnode} is at {location:?}, outside the data directory, and its files are missing: put \
         {spcnode}.tar beside the base archive, where pg_basebackup writes it, or move the tablespace's \
         relations to pg_default and drop it before the backup"
    )]
    TablespaceElsewhere {
        /// The tablespace.
        spcnode: Oid,
        /// Where it is on the cluster's machine.
        location: String,
    },
    /// A link to a tablespace without the tablespace.
    #[error(
        "{path} is a link to a tablespace outside the data directory; make the archive with pg_basebackup -Ft, \
         or with the files that the link leads to in its place"
    )]
    TablespaceLink {
        /// Path below the data directory.
        path: String,
    },
    /// A tablespace has files of another version, or of nothing that PostgreSQL knows.
    #[error(
        "{path} is in a tablespace, but not in {expected}, where this cluster's server has its files"
    )]
    TablespaceVersion {
        /// Path below the data directory.
        path: String,
        /// The directory that is expected.
        expected: String,
    },
    /// The archive could not be read.
    #[error("cannot read the tar archive: {0}")]
    Archive(#[source] io::Error),
    /// A segment of WAL is missing, or in the wrong place.
    #[error("WAL segment {found} found, expected {expected}")]
    UnexpectedSegment {
        /// What is there.
        found: String,
        /// What continues the WAL.
        expected: String,
    },
    /// There is no control file.
    #[error("pg_control file not found")]
    NoControlFile,
    /// The control file cannot be used.
    #[error(transparent)]
    ControlFile(#[from] ControlFileError),
    /// The cluster was running or crashed.
    #[error("Postgres cluster was not shut down cleanly (state {0})")]
    NotShutDown(u32),
    /// The directory is not at the LSN that the caller thinks.
    #[error("unexpected checkpoint REDO pointer {found}, expected {expected}")]
    UnexpectedRedo {
        /// Redo pointer in the control file.
        found: Lsn,
        /// The caller's LSN.
        expected: Lsn,
    },
    /// The directory's WAL ends too early.
    #[error("WAL in the data directory ends before {0}")]
    WalTooShort(Lsn),
    /// The directory's WAL is damaged.
    #[error(transparent)]
    WalStream(#[from] WalDecodeError),
    /// A record in the directory's WAL is damaged.
    #[error(transparent)]
    WalRecord(#[from] RecordDecodeError),
    /// A record could not be ingested.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Contents could not be stored.
    #[error(transparent)]
    Modification(#[from] ModificationError),
    /// Contents could not be read back.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
}

/// The LSN at which a data directory can be imported: the redo pointer of its last checkpoint.
pub fn datadir_lsn(pgdata: &Path) -> Result<Lsn, ImportError> {
    let path = pgdata.join("global/pg_control");
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ImportError::NoControlFile);
        }
        result => result.map_err(|source| ImportError::Io { path, source })?,
    };
    Ok(ControlFile::parse(&bytes)?.checkpoint().redo)
}

/// Imports the directory into an empty timeline: its files as of `pgdata_lsn`, then its WAL up
/// to and including the record there. The timeline's last record then ends after it.
pub async fn import_datadir<S: KeyStore>(
    store: &S,
    shard: ShardIdentity,
    major: PgMajor,
    pgdata: &Path,
    pgdata_lsn: Lsn,
) -> Result<(), ImportError> {
    let mut modification = DatadirModification::begin(store, major, pgdata_lsn);
    modification.init_empty();
    let mut control_file = None;
    let mut tablespaces = Tablespaces::default();
    for Entry { path, relative, is_file } in list_entries(pgdata).await? {
        tablespaces.note(&relative)?;
        if !is_file {
            continue;
        }
        let Some(file) = classify(&relative)? else {
            tracing::debug!("ignoring unrecognized file {relative:?} in the data directory");
            continue;
        };
        let bytes = read_file(&path).await?;
        if file == DataFile::ControlFile {
            control_file = Some(ControlFile::parse(&bytes)?);
        }
        import_file(&mut modification, &mut tablespaces, shard, &relative, file, bytes).await?;
        modification.flush_data_blocks().await?;
    }
    let control_file = control_file.ok_or(ImportError::NoControlFile)?;
    if control_file.state() != DB_SHUTDOWNED {
        return Err(ImportError::NotShutDown(control_file.state()));
    }
    let redo = control_file.checkpoint().redo;
    if redo != pgdata_lsn {
        return Err(ImportError::UnexpectedRedo { found: redo, expected: pgdata_lsn });
    }
    tablespaces.finish(&control_file, &mut modification).await?;
    modification.commit().await?;
    import_wal(store, shard, major, &pgdata.join("pg_wal"), pgdata_lsn).await
}

async fn import_file<S: KeyStore>(
    modification: &mut DatadirModification<'_, S>,
    tablespaces: &mut Tablespaces,
    shard: ShardIdentity,
    relative: &str,
    file: DataFile,
    bytes: Bytes,
) -> Result<(), ImportError> {
    match file {
        DataFile::ControlFile => {
            modification.put_checkpoint(&ControlFile::parse(&bytes)?.checkpoint());
            modification.put_control_file(bytes);
        }
        DataFile::RelMap { spcnode, dbnode } => {
            modification.put_relmap(spcnode, dbnode, bytes).await?;
        }
        DataFile::Relation { rel, segment } => {
            let pages = pages(&bytes, relative, RELSEG_SIZE)?;
            import_relation(modification, shard, rel, segment * RELSEG_SIZE, pages).await?;
        }
        DataFile::Slru { kind, segment } => {
            let pages = pages(&bytes, relative, SLRU_PAGES_PER_SEGMENT)?;
            import_slru(modification, kind, segment, pages).await?;
        }
        DataFile::TwoPhase { xid } => {
            // The trailing CRC is added again when the file is made.
            let end = bytes.len().checked_sub(4).ok_or_else(|| ImportError::UnrecognizedFile {
                path: relative.to_owned(),
                reason: "shorter than its CRC",
            })?;
            modification.put_two_phase_file(xid, bytes.slice(..end)).await?;
        }
        DataFile::TablespaceMap => tablespaces.read_map(&bytes)?,
    }
    Ok(())
}

async fn import_relation<S: KeyStore>(
    modification: &mut DatadirModification<'_, S>,
    shard: ShardIdentity,
    rel: RelTag,
    first_block: BlockNumber,
    pages: Vec<Bytes>,
) -> Result<(), ImportError> {
    let end = first_block + pages.len() as u32;
    if modification.keymap().rel_exists(rel).await? {
        modification.extend_relation(rel, end).await?;
    } else {
        modification.create_relation(rel, end).await?;
    }
    for (block, page) in (first_block..end).zip(pages) {
        if shard.is_key_local(&Key::rel_block(rel, block)) {
            modification.put_rel_page_image(rel, block, page);
        }
    }
    Ok(())
}

async fn import_slru<S: KeyStore>(
    modification: &mut DatadirModification<'_, S>,
    kind: SlruKind,
    segment: u32,
    pages: Vec<Bytes>,
) -> Result<(), ImportError> {
    modification.create_slru_segment(kind, segment, pages.len() as u32).await?;
    for (block, page) in (0..).zip(pages) {
        modification.put_slru_page_image(kind, SlruPage { segment, block }, page).await?;
    }
    Ok(())
}

/// A file's pages, which share its memory.
fn pages(bytes: &Bytes, relative: &str, limit: u32) -> Result<Vec<Bytes>, ImportError> {
    let error = |reason| ImportError::UnrecognizedFile { path: relative.to_owned(), reason };
    if !bytes.len().is_multiple_of(BLCKSZ) {
        return Err(error("its length is not a multiple of the page size"));
    }
    if bytes.len() / BLCKSZ > limit as usize {
        return Err(error("it is longer than a segment"));
    }
    Ok((0..bytes.len()).step_by(BLCKSZ).map(|at| bytes.slice(at..at + BLCKSZ)).collect())
}

/// Ingests the directory's WAL from `start` up to and including the record there.
async fn import_wal<S: KeyStore>(
    store: &S,
    shard: ShardIdentity,
    major: PgMajor,
    pg_wal: &Path,
    start: Lsn,
) -> Result<(), ImportError> {
    let mut ingest = WalIngest::new(store, shard, major, start).await?;
    let mut modification = DatadirModification::begin(store, major, start);
    let mut decoder = WalStreamDecoder::new(start, major);
    while modification.lsn() <= start {
        let segment = decoder.lsn().segment_number(WAL_SEGMENT_SIZE as u64);
        let offset = decoder.lsn().segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
        let bytes = read_segment(pg_wal, segment).await?;
        let fresh = bytes.get(offset..WAL_SEGMENT_SIZE).ok_or(ImportError::WalTooShort(start))?;
        decoder.feed_bytes(fresh);
        while modification.lsn() <= start
            && let Some((lsn, raw)) = decoder.poll_decode()?
        {
            let record = record::decode(&raw, major)?;
            ingest.ingest_record(&record, lsn, &mut modification).await?;
            modification.commit().await?;
        }
    }
    Ok(())
}

async fn read_segment(pg_wal: &Path, segment: u64) -> Result<Bytes, ImportError> {
    match read_file(&pg_wal.join(segment_file_name(segment))).await {
        Err(ImportError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            read_file(&pg_wal.join(partial_segment_file_name(segment))).await
        }
        result => result,
    }
}

async fn read_file(path: &Path) -> Result<Bytes, ImportError> {
    let bytes = tokio::fs::read(path).await;
    bytes.map(Bytes::from).map_err(|source| ImportError::Io { path: path.to_owned(), source })
}

/// Something in a data directory.
struct Entry {
    path: PathBuf,
    /// Path below the data directory.
    relative: String,
    /// Whether it is a regular file; else it is a directory.
    is_file: bool,
}

/// Regular files and directories below the directory except WAL, sorted. Links, which tablespaces
/// may be, are followed.
async fn list_entries(pgdata: &Path) -> Result<Vec<Entry>, ImportError> {
    let root = pgdata.to_owned();
    let list = move || {
        let mut entries = Vec::new();
        let walk = walkdir::WalkDir::new(&root).follow_links(true).sort_by_file_name();
        let walk = walk.into_iter().filter_entry(|e| e.file_name() != "pg_wal");
        for entry in walk {
            let entry = entry.map_err(|error| ImportError::Io {
                path: error.path().unwrap_or(&root).to_owned(),
                source: error.into(),
            })?;
            let kind = entry.file_type();
            if kind.is_file() || kind.is_dir() {
                let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path());
                let relative = relative.to_string_lossy().into_owned();
                entries.push(Entry { path: entry.into_path(), relative, is_file: kind.is_file() });
            }
        }
        Ok(entries)
    };
    let failed =
        |error| ImportError::Io { path: pgdata.to_owned(), source: io::Error::other(error) };
    tokio::task::spawn_blocking(list).await.map_err(failed)?
}
