//! `initdb.tar.zst`: a cluster directory as one object. The same directory always gives the same
//! bytes.

use std::io::{BufWriter, Write};

use camino::{Utf8Path, Utf8PathBuf};
use walkdir::WalkDir;

/// Archives above this size are worth a look.
const EXPECTED_BYTES: u64 = 2 * 1024 * 1024;

/// An archive could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct ArchiveError {
    /// What was attempted.
    pub action: &'static str,
    /// On what.
    pub path: Utf8PathBuf,
    /// Why.
    pub source: std::io::Error,
}

fn error<'a>(
    action: &'static str,
    path: &'a Utf8Path,
) -> impl Fn(std::io::Error) -> ArchiveError + 'a {
    move |source| ArchiveError { action, path: path.to_owned(), source }
}

/// Writes the content of `directory` to the file `archive`; returns its size in bytes. Blocking.
pub fn pack(directory: &Utf8Path, archive: &Utf8Path) -> Result<u64, ArchiveError> {
    let failed = error("write", archive);
    let file = std::fs::File::create(archive).map_err(&failed)?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), 0).map_err(&failed)?;
    encoder.long_distance_matching(true).map_err(&failed)?;
    let mut builder = tar::Builder::new(encoder);
    builder.mode(tar::HeaderMode::Deterministic);
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|e| error("read", directory)(e.into()))?;
        let relative = entry
            .path()
            .strip_prefix(directory)
            .map_err(|e| error("read", directory)(std::io::Error::other(e)))?;
        builder.append_path_with_name(entry.path(), relative).map_err(error("read", directory))?;
    }
    let encoder = builder.into_inner().map_err(&failed)?;
    let mut writer = encoder.finish().map_err(&failed)?;
    writer.flush().map_err(&failed)?;
    let size = std::fs::metadata(archive).map_err(&failed)?.len();
    if size > EXPECTED_BYTES {
        tracing::warn!("initdb {archive} size of {size} bytes is above {EXPECTED_BYTES} bytes");
    }
    Ok(size)
}

/// Extracts `archive` into `directory`. Entries that would lie outside of it are refused. Blocking.
pub fn unpack(archive: &[u8], directory: &Utf8Path) -> Result<(), ArchiveError> {
    let failed = error("extract the initdb archive to", directory);
    let decoder = zstd::Decoder::new(archive).map_err(&failed)?;
    let mut reader = tar::Archive::new(decoder);
    reader.set_preserve_ownerships(false);
    reader.set_preserve_mtime(false);
    reader.unpack(directory).map_err(&failed)
}
