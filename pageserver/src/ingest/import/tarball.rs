//! Imports what `pg_basebackup` writes: the tar archive of a data directory, and one of its WAL.
//!
//! The pages of an online backup are those of several moments. That is sound: while a backup runs
//! the first change of a page after the backup's checkpoint logs the page whole, so that the WAL
//! up to the end of the backup makes every page right, and nothing is read before.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use pageserver_api::shard::ShardIdentity;
use postgres_ffi::xlog::segment::{partial_segment_file_name, segment_file_name};
use postgres_ffi::{ControlFile, PgMajor, WAL_SEGMENT_SIZE};
use tokio::sync::mpsc;
use utils::Lsn;
use wal_decoder::{WalStreamDecoder, record};

use super::path::{DataFile, classify};
use super::tablespaces::{TablespacePath, Tablespaces};
use super::{ImportError, import_file};
use crate::ingest::WalIngest;
use crate::keymap::{DatadirModification, KeyStore};

/// Pieces of an archive as they arrive.
pub type TarChunks = mpsc::Receiver<io::Result<Bytes>>;

/// Size of a tar block.
const TAR_BLOCK_BYTES: usize = 512;

/// A regular file or directory of an archive.
struct TarEntry {
    path: String,
    /// `None` for a directory.
    content: Option<Bytes>,
}

/// Imports the archive of a data directory into an empty timeline. Everything is as of `base_lsn`,
/// the redo pointer of the backup's checkpoint.
pub async fn import_base_tar<S: KeyStore>(
    store: &S,
    shard: ShardIdentity,
    major: PgMajor,
    base_lsn: Lsn,
    chunks: TarChunks,
) -> Result<(), ImportError> {
    let mut modification = DatadirModification::begin(store, major, base_lsn);
    modification.init_empty();
    let mut control_file = None;
    let mut tablespaces = Tablespaces::default();
    let mut entries = read_tar(chunks);
    while let Some(entry) = entries.recv().await {
        let TarEntry { path, content } = entry?;
        tablespaces.note(&path)?;
        let Some(content) = content else { continue };
        let Some(kind) = classify_archived(&path)? else {
            tracing::debug!("ignoring unrecognized file {path:?} in tar archive");
            continue;
        };
        if kind == DataFile::ControlFile {
            control_file = Some(ControlFile::parse(&content)?);
        }
        import_file(&mut modification, &mut tablespaces, shard, &path, kind, content).await?;
        modification.flush_data_blocks().await?;
    }
    let control_file = control_file.ok_or(ImportError::NoControlFile)?;
    tablespaces.finish(&control_file, &mut modification).await?;
    Ok(modification.commit().await?)
}

fn classify_archived(path: &str) -> Result<Option<DataFile>, ImportError> {
    if path.starts_with("pg_wal/") { Ok(None) } else { classify(path) }
}

/// Ingests an archive of WAL segments into a timeline that ends at `start`, up to the record that
/// ends at or behind `end`.
pub async fn import_wal_tar<S: KeyStore>(
    store: &S,
    shard: ShardIdentity,
    major: PgMajor,
    (start, end): (Lsn, Lsn),
    chunks: TarChunks,
) -> Result<(), ImportError> {
    let mut ingest = WalIngest::new(store, shard, major, start).await?;
    let mut modification = DatadirModification::begin(store, major, start);
    let mut decoder = WalStreamDecoder::new(start, major);
    let mut last = start;
    let mut entries = read_tar(chunks);
    while let Some(entry) = entries.recv().await {
        let TarEntry { path, content } = entry?;
        let Some(content) = content else { continue };
        if is_not_wal(&path) || last >= end {
            // The rest is read all the same: a damaged archive is refused.
            continue;
        }
        let segment = decoder.lsn().segment_number(WAL_SEGMENT_SIZE as u64);
        let offset = decoder.lsn().segment_offset(WAL_SEGMENT_SIZE as u64) as usize;
        if path != segment_file_name(segment) && path != partial_segment_file_name(segment) {
            return Err(ImportError::UnexpectedSegment {
                found: path,
                expected: segment_file_name(segment),
            });
        }
        let fresh = content.get(offset..WAL_SEGMENT_SIZE).ok_or(ImportError::WalTooShort(end))?;
        decoder.feed_bytes(fresh);
        while last < end
            && let Some((lsn, raw)) = decoder.poll_decode()?
        {
            let record = record::decode(&raw, major)?;
            ingest.ingest_record(&record, lsn, &mut modification).await?;
            modification.commit().await?;
            last = lsn;
        }
    }
    if last < end { Err(ImportError::WalTooShort(end)) } else { Ok(()) }
}

/// Histories of timelines, and marks of what was archived.
fn is_not_wal(path: &str) -> bool {
    path.starts_with("archive_status/") || path.ends_with(".history")
}

/// Takes an archive apart on a thread of its own; entries come in order. After an error nothing
/// comes.
fn read_tar(chunks: TarChunks) -> mpsc::Receiver<Result<TarEntry, ImportError>> {
    let (sender, entries) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let source = Chunks { chunks, current: Bytes::new() };
        if let Err(error) = send_entries(source, &sender) {
            // The importer may have given up.
            let _ = sender.blocking_send(Err(error));
        }
    });
    entries
}

fn send_entries(
    source: Chunks,
    sender: &mpsc::Sender<Result<TarEntry, ImportError>>,
) -> Result<(), ImportError> {
    let mut archive = tar::Archive::new(source);
    for entry in archive.entries().map_err(ImportError::Archive)? {
        let mut entry = entry.map_err(ImportError::Archive)?;
        let path = entry.path().map_err(ImportError::Archive)?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/').to_owned();
        let content = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => Some(read_content(&mut entry)?),
            tar::EntryType::Directory => None,
            tar::EntryType::Symlink if TablespacePath::parse(&path)?.is_some() => {
                return Err(ImportError::TablespaceLink { path });
            }
            _ => {
                let reason = "neither a file nor a directory";
                return Err(ImportError::UnrecognizedFile { path, reason });
            }
        };
        if sender.blocking_send(Ok(TarEntry { path, content })).is_err() {
            return Ok(());
        }
    }
    check_end(archive.into_inner())
}

fn read_content(entry: &mut tar::Entry<'_, impl Read>) -> Result<Bytes, ImportError> {
    let mut content = Vec::with_capacity(usize::try_from(entry.size()).unwrap_or(0));
    entry.read_to_end(&mut content).map_err(ImportError::Archive)?;
    if content.len() as u64 != entry.size() {
        return Err(ImportError::Archive(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(content.into())
}

/// An archive ends in two blocks of zeros, of which the first has been read, and perhaps more.
fn check_end(mut source: Chunks) -> Result<(), ImportError> {
    let broken = |reason: &str| {
        ImportError::Archive(io::Error::new(io::ErrorKind::InvalidData, reason.to_owned()))
    };
    let mut block = [0; TAR_BLOCK_BYTES];
    let mut blocks = 0;
    loop {
        let mut length = 0;
        while length < TAR_BLOCK_BYTES {
            match source.read(&mut block[length..]).map_err(ImportError::Archive)? {
                0 => break,
                count => length += count,
            }
        }
        match length {
            0 if blocks == 0 => return Err(broken("incomplete or invalid tar EOF marker")),
            0 => return Ok(()),
            TAR_BLOCK_BYTES if block.iter().all(|byte| *byte == 0) => blocks += 1,
            TAR_BLOCK_BYTES if blocks == 0 => return Err(broken("invalid tar EOF marker")),
            _ => return Err(broken("unexpected non-zero bytes after the tar archive")),
        }
    }
}

/// Received pieces as a blocking reader.
struct Chunks {
    chunks: TarChunks,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(target.len());
        self.current.copy_to_slice(&mut target[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
