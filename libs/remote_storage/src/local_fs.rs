//! Objects as files below a directory, for single-machine installations and tests.
//!
//! An object is written beside its final place and renamed over it after an fsync, so that a
//! crash leaves either version whole. Metadata is a sibling file. On-disk details:
//! docs/formats/remote-layout.md.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::backend::{
    ByteStream, Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody,
};
use crate::{RemotePath, RemoteStorageError};

mod listing;

/// End of the names of objects being written.
const TEMP_SUFFIX: &str = ".___temp";
/// End of the names of files that hold an object's metadata.
const METADATA_SUFFIX: &str = ".metadata";
/// Operations of one direction at once.
const CONCURRENCY_LIMIT: usize = 100;
/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A directory of this machine used as an object store.
pub struct LocalFs {
    root: Utf8PathBuf,
}

impl LocalFs {
    /// Uses `root`, making it if absent.
    pub fn new(root: Utf8PathBuf) -> Result<LocalFs, RemoteStorageError> {
        let failed = |source| RemoteStorageError::Io {
            action: "open the local store at",
            path: root.to_string(),
            source,
        };
        std::fs::create_dir_all(&root).map_err(failed)?;
        let root = root.canonicalize_utf8().map_err(failed)?;
        Ok(LocalFs { root })
    }

    fn file(&self, path: &RemotePath) -> Result<Utf8PathBuf, RemoteStorageError> {
        match path.as_str() {
            "" => Err(RemoteStorageError::BadInput("an object needs a name".to_owned())),
            name if name.ends_with('/') => {
                Err(RemoteStorageError::BadInput(format!("object name {name} ends in a slash")))
            }
            name => Ok(self.root.join(name)),
        }
    }
}

/// Runs file work on the blocking pool and names the object in its error.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    path: &RemotePath,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RemoteStorageError> {
    let result = match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join_error) => Err(io::Error::other(join_error)),
    };
    result.map_err(|source| match source.kind() {
        // The latter when a prefix of the name is itself an object.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if action != "upload" => {
            RemoteStorageError::NotFound(path.to_string())
        }
        _ => RemoteStorageError::Io { action, path: path.to_string(), source },
    })
}

fn with_suffix(file: &Utf8Path, suffix: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{file}{suffix}"))
}

/// A file that is removed unless it was renamed to its final name.
struct TempFile {
    path: Utf8PathBuf,
    file: std::fs::File,
    armed: bool,
}

impl TempFile {
    fn create(target: &Utf8Path) -> io::Result<TempFile> {
        // Two uploads of one object must not write into each other's file.
        let unique: u32 = rand::random();
        let path = with_suffix(target, &format!(".{unique:08x}{TEMP_SUFFIX}"));
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = std::fs::File::create_new(&path)?;
        Ok(TempFile { path, file, armed: true })
    }

    fn persist(mut self, target: &Utf8Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, target)?;
        self.armed = false;
        if let Some(parent) = target.parent() {
            std::fs::File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove temporary object {}: {error}", self.path);
        }
    }
}

fn wrong_length(expected: u64, found: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the content has different size than announced: {found} instead of {expected}"),
    )
}

fn write_object(target: &Utf8Path, content: &mut dyn Read, size_bytes: u64) -> io::Result<()> {
    let mut temp = TempFile::create(target)?;
    let copied = io::copy(content, &mut temp.file)?;
    if copied != size_bytes {
        return Err(wrong_length(size_bytes, copied));
    }
    temp.persist(target)
}

async fn write_stream(
    target: Utf8PathBuf,
    path: &RemotePath,
    mut stream: ByteStream,
    size_bytes: u64,
) -> Result<(), RemoteStorageError> {
    let create_target = target.clone();
    let mut temp = blocking("upload", path, move || TempFile::create(&create_target)).await?;
    let mut written = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| crate::backend::from_stream_error(error, path))?;
        written += chunk.len() as u64;
        temp = blocking("upload", path, move || {
            temp.file.write_all(&chunk)?;
            Ok(temp)
        })
        .await?;
    }
    blocking("upload", path, move || match written == size_bytes {
        true => temp.persist(&target),
        false => Err(wrong_length(size_bytes, written)),
    })
    .await
}

fn write_metadata(target: &Utf8Path, metadata: Option<StorageMetadata>) -> io::Result<()> {
    let file = with_suffix(target, METADATA_SUFFIX);
    match metadata {
        Some(metadata) => {
            let json = serde_json::to_vec(&metadata).map_err(io::Error::other)?;
            write_object(&file, &mut json.as_slice(), json.len() as u64)
        }
        None => remove_if_present(&file),
    }
}

fn remove_if_present(file: &Utf8Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

fn read_metadata(file: &Utf8Path) -> io::Result<Option<StorageMetadata>> {
    match std::fs::read(with_suffix(file, METADATA_SUFFIX)) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

struct OpenObject {
    file: std::fs::File,
    modified: SystemTime,
    metadata: Option<StorageMetadata>,
    length: u64,
}

fn open_object(path: &Utf8Path, start: u64) -> io::Result<OpenObject> {
    let mut file = std::fs::File::open(path)?;
    let stat = file.metadata()?;
    if !stat.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.seek(SeekFrom::Start(start))?;
    let metadata = read_metadata(path)?;
    Ok(OpenObject { file, modified: stat.modified()?, metadata, length: stat.len() })
}

fn read_stream(file: std::fs::File, length: u64) -> ByteStream {
    stream::unfold(Some((file, length)), |state| async move {
        let (mut file, rest) = state.filter(|(_, rest)| *rest > 0)?;
        let work = move || {
            let wanted = rest.min(CHUNK_BYTES as u64) as usize;
            let mut chunk = vec![0; wanted];
            file.read_exact(&mut chunk).map(|()| (Bytes::from(chunk), file))
        };
        match tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok((chunk, file)) => {
                let rest = rest - chunk.len() as u64;
                Some((Ok(chunk), Some((file, rest))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl RemoteStorage for LocalFs {
    fn list<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Listing, RemoteStorageError>> {
        Box::pin(async move {
            let root = self.root.clone();
            let prefix = prefix.map_or(String::new(), |prefix| prefix.to_string());
            let shown = RemotePath::new(prefix.clone())
                .map_err(|error| RemoteStorageError::BadInput(error.to_string()))?;
            blocking("list", &shown, move || listing::list(&root, &prefix, mode, max_keys)).await
        })
    }

    fn upload<'a>(
        &'a self,
        body: UploadBody,
        to: &'a RemotePath,
        metadata: Option<StorageMetadata>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            let target = self.file(to)?;
            let metadata_target = target.clone();
            match body {
                UploadBody::Bytes(bytes) => {
                    blocking("upload", to, move || {
                        write_object(&target, &mut bytes.as_ref(), bytes.len() as u64)
                    })
                    .await?;
                }
                UploadBody::File { path, size_bytes } => {
                    blocking("upload", to, move || {
                        write_object(&target, &mut std::fs::File::open(&path)?, size_bytes)
                    })
                    .await?;
                }
                UploadBody::Stream { stream, size_bytes } => {
                    write_stream(target, to, stream, size_bytes).await?;
                }
            }
            blocking("upload", to, move || write_metadata(&metadata_target, metadata)).await
        })
    }

    fn download<'a>(
        &'a self,
        from: &'a RemotePath,
        start: u64,
        end: Bound<u64>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Download, RemoteStorageError>> {
        Box::pin(async move {
            let file = self.file(from)?;
            let object = blocking("download", from, move || open_object(&file, start)).await?;
            let end = match end {
                Bound::Unbounded => object.length,
                Bound::Excluded(end) => end.min(object.length),
                Bound::Included(last) => last.saturating_add(1).min(object.length),
            };
            let length = end.saturating_sub(start);
            if length == 0 && start > 0 {
                let message = format!("{from}: range is empty, from {start} to {end}");
                return Err(RemoteStorageError::BadInput(message));
            }
            let millis = object.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Download {
                stream: read_stream(object.file, length),
                etag: millis.as_millis().to_string(),
                last_modified: object.modified,
                metadata: object.metadata,
            })
        })
    }

    fn delete_objects<'a>(
        &'a self,
        paths: &'a [RemotePath],
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            for path in paths {
                let file = self.file(path)?;
                blocking("delete", path, move || {
                    remove_if_present(&file)?;
                    remove_if_present(&with_suffix(&file, METADATA_SUFFIX))
                })
                .await?;
            }
            Ok(())
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            let (source, target) = (self.file(from)?, self.file(to)?);
            blocking("copy", from, move || {
                let mut source = std::fs::File::open(&source)?;
                let length = source.metadata()?.len();
                write_object(&target, &mut source, length)
            })
            .await
        })
    }

    fn time_travel_recover<'a>(
        &'a self,
        _prefix: Option<&'a RemotePath>,
        _timestamp: SystemTime,
        _done_if_after: SystemTime,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            Err(RemoteStorageError::BadInput(format!(
                "{} keeps no versions, so it cannot be brought back to a time",
                self.describe()
            )))
        })
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn concurrency_limit(&self) -> usize {
        CONCURRENCY_LIMIT
    }

    fn describe(&self) -> String {
        format!("directory {}", self.root)
    }
}
