//! What a backend must be able to do, and the types that cross that boundary.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use camino::Utf8PathBuf;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::{RemotePath, RemoteStorageError};

/// Content in transit.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// Name-value pairs stored beside an object.
pub type StorageMetadata = HashMap<String, String>;

/// What to upload.
pub enum UploadBody {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A local file of which exactly `size_bytes` are uploaded; another length is an error.
    File {
        /// Where it is.
        path: Utf8PathBuf,
        /// Its expected length.
        size_bytes: u64,
    },
    /// A stream of exactly `size_bytes`.
    Stream {
        /// The content.
        stream: ByteStream,
        /// Its length.
        size_bytes: u64,
    },
}

impl UploadBody {
    /// Length of the content in bytes.
    pub fn size_bytes(&self) -> u64 {
        match self {
            UploadBody::Bytes(bytes) => bytes.len() as u64,
            UploadBody::File { size_bytes, .. } | UploadBody::Stream { size_bytes, .. } => {
                *size_bytes
            }
        }
    }
}

/// An object being downloaded.
pub struct Download {
    /// Its content.
    pub stream: ByteStream,
    /// Identity of this version of the object.
    pub etag: String,
    /// When it was written.
    pub last_modified: SystemTime,
    /// What was stored beside it.
    pub metadata: Option<StorageMetadata>,
}

impl Download {
    /// Reads everything into memory. Meant for small objects such as indexes.
    pub async fn collect(mut self, path: &RemotePath) -> Result<Bytes, RemoteStorageError> {
        let mut content = BytesMut::new();
        while let Some(chunk) = self.stream.next().await {
            let chunk = chunk.map_err(|error| from_stream_error(error, path))?;
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }
}

/// Turns an error met while reading a download into the crate's error, recovering cancellation
/// and timeouts that travelled inside an [`io::Error`].
pub(crate) fn from_stream_error(error: io::Error, path: &RemotePath) -> RemoteStorageError {
    match error.downcast::<RemoteStorageError>() {
        Ok(inner) => inner,
        Err(source) => {
            RemoteStorageError::Io { action: "download", path: path.to_string(), source }
        }
    }
}

/// How far a listing descends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMode {
    /// Every key that begins with the prefix.
    NoDelimiter,
    /// Keys up to the next `/`; what lies deeper is summarised by its prefixes.
    WithDelimiter,
}

/// Result of a listing, in no order that may be relied upon: not every store sorts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Common prefixes without a final `/`; only with a delimiter.
    pub prefixes: Vec<RemotePath>,
    /// Objects.
    pub keys: Vec<RemotePath>,
}

/// A store of immutable objects. Implementations neither retry nor limit concurrency.
pub trait RemoteStorage: Send + Sync + 'static {
    /// Lists what begins with `prefix`; at most `max_keys` keys.
    fn list<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Listing, RemoteStorageError>>;

    /// Stores an object, replacing one of the same key.
    fn upload<'a>(
        &'a self,
        body: UploadBody,
        to: &'a RemotePath,
        metadata: Option<StorageMetadata>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>>;

    /// Starts reading an object, or the bytes `start..end` of it.
    fn download<'a>(
        &'a self,
        from: &'a RemotePath,
        start: u64,
        end: Bound<u64>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Download, RemoteStorageError>>;

    /// Deletes objects. Absent ones are no error.
    fn delete_objects<'a>(
        &'a self,
        paths: &'a [RemotePath],
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>>;

    /// Copies an object within the store.
    fn copy<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>>;

    /// Brings every object below `prefix` back to its state at `timestamp`, unless it changed at or
    /// after `done_if_after`. Needs a store that keeps versions.
    fn time_travel_recover<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        timestamp: SystemTime,
        done_if_after: SystemTime,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>>;

    /// How many operations of one direction may run at once.
    fn concurrency_limit(&self) -> usize;

    /// Whether the store is reached over a network, so that its requests are worth measuring.
    fn is_remote(&self) -> bool;

    /// A short description for log lines, such as the bucket.
    fn describe(&self) -> String;
}
