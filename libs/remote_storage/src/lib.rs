//! Object storage behind one trait: upload, download, list, delete and copy of immutable
//! objects named by relative paths.
//!
//! [`GenericRemoteStorage`] is what callers hold: it adds concurrency limits, timeouts and
//! cancellation to whichever [`RemoteStorage`] backend the configuration names. It does not
//! retry; whether to do so is the caller's policy, helped by
//! [`RemoteStorageError::is_permanent`].

mod backend;
mod cloud;
pub mod config;
mod error;
mod generic;
mod local_fs;
mod metrics;
mod path;
mod prefix;
mod s3;
mod sized_body;
mod unreliable;

pub use backend::{
    ByteStream, Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody,
};
pub use cloud::CloudStore;
pub use config::{AzureConfig, GcsConfig, RemoteStorageConfig, RemoteStorageKind, S3Config};
pub use error::RemoteStorageError;
pub use generic::GenericRemoteStorage;
pub use local_fs::LocalFs;
pub use path::{RemotePath, RemotePathError};
pub use s3::S3Bucket;
pub use unreliable::Unreliable;

#[cfg(test)]
mod tests;
