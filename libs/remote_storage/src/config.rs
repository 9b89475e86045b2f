//! Configuration of the remote store: the `remote_storage` table of a daemon's TOML file.
//!
//! The kind of store follows from the keys that are present: `local_path` is a directory,
//! `bucket_name` with `bucket_region` a bucket of an S3-compatible store, `container_name` with
//! `container_region` a container of Azure Blob Storage, `gcs_bucket_name` a bucket of Google Cloud
//! Storage.

use std::num::NonZeroUsize;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

mod keys;

pub use keys::InvalidRemoteStorage;

use keys::Keys;

/// Time an operation may take once it got its turn.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Operations of one direction that run at once.
pub const DEFAULT_CONCURRENCY_LIMIT: NonZeroUsize = match NonZeroUsize::new(100) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};

/// A `remote_storage` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct RemoteStorageConfig {
    /// Where objects are.
    pub kind: RemoteStorageKind,
    /// Time an operation may take once it got its turn; default 120 s.
    pub timeout: Duration,
}

impl RemoteStorageConfig {
    /// Resolves a relative directory against `base`; buckets are left as they are.
    #[must_use]
    pub fn relative_to(mut self, base: &camino::Utf8Path) -> Self {
        if let RemoteStorageKind::LocalFs { local_path } = &mut self.kind {
            *local_path = base.join(&*local_path);
        }
        self
    }
}

/// The supported stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteStorageKind {
    /// A directory of this machine (`local_path`).
    LocalFs {
        /// The directory; made if absent.
        local_path: Utf8PathBuf,
    },
    /// A bucket of an S3-compatible store (`bucket_name`, `bucket_region`).
    S3(S3Config),
    /// A container of Azure Blob Storage (`container_name`, `container_region`).
    Azure(AzureConfig),
    /// A bucket of Google Cloud Storage (`gcs_bucket_name`).
    Gcs(GcsConfig),
}

/// A bucket. Credentials are not configured here: they come from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket; it must exist.
    pub bucket_name: String,
    /// Its region, which requests are signed for.
    pub bucket_region: String,
    /// Everything is kept below this key prefix.
    pub prefix_in_bucket: Option<String>,
    /// URL of another store than Amazon's; the bucket is then named in the path, not in the host.
    pub endpoint: Option<String>,
    /// Operations of one direction that run at once; default 100.
    pub concurrency_limit: NonZeroUsize,
    /// Keys per page of a listing, 1 to 1000; the store's own limit by default.
    pub max_keys_per_list_response: Option<i32>,
    /// Storage class of new objects, such as `INTELLIGENT_TIERING`.
    pub upload_storage_class: Option<String>,
}

/// A container of Azure Blob Storage. Credentials are not configured here: they are
/// `AZURE_STORAGE_ACCESS_KEY`, or what else of Azure's variables and the machine gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureConfig {
    /// The container; it must exist.
    pub container_name: String,
    /// Its region, for people: requests do not need it.
    pub container_region: String,
    /// The account; the value of `AZURE_STORAGE_ACCOUNT` by default.
    pub storage_account: Option<String>,
    /// Everything is kept below this key prefix.
    pub prefix_in_container: Option<String>,
    /// URL of another service than Azure's, such as an emulator, with the account in its path.
    pub endpoint: Option<String>,
    /// Operations of one direction that run at once; default 100.
    pub concurrency_limit: NonZeroUsize,
}

/// A bucket of Google Cloud Storage. Credentials come from `GOOGLE_APPLICATION_CREDENTIALS` or
/// the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsConfig {
    /// The bucket; it must exist.
    pub bucket_name: String,
    /// Everything is kept below this key prefix.
    pub prefix_in_bucket: Option<String>,
    /// Operations of one direction that run at once; default 100.
    pub concurrency_limit: NonZeroUsize,
}

#[cfg(test)]
mod tests;
