//! Configuration of the remote store: the `remote_storage` table of a daemon's TOML file.
//!
//! The kind of store follows from the keys that are present: `local_path` is a directory,
//! `bucket_name` with `bucket_region` a bucket of an S3-compatible store.

use std::num::NonZeroUsize;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// Time an operation may take once it got its turn.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Operations of one direction that run at once.
pub const DEFAULT_CONCURRENCY_LIMIT: NonZeroUsize = match NonZeroUsize::new(100) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};
/// Keys that a page of a listing has at most, by the protocol.
const MAX_KEYS_PER_PAGE: i32 = 1000;

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

/// The table as written.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    local_path: Option<Utf8PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_in_bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency_limit: Option<NonZeroUsize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_keys_per_list_response: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_storage_class: Option<String>,
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
}

/// The table names no store, or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRemoteStorage {
    /// No kind of store can be told from the keys.
    #[error(
        "remote_storage needs the key local_path (a directory), \
         or bucket_name and bucket_region (an S3-compatible bucket)"
    )]
    MissingStore,
    /// Keys of both kinds.
    #[error("remote_storage has local_path and also {0}, which belongs to a bucket")]
    TwoStores(&'static str),
    /// A bucket without its other mandatory key.
    #[error("remote_storage has {present} but lacks {missing}; a bucket needs both")]
    Incomplete {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// The size of a listing's page.
    #[error("max_keys_per_list_response is {0}; it must be from 1 to {MAX_KEYS_PER_PAGE}")]
    PageSize(i32),
    /// The endpoint is no URL of a server.
    #[error("endpoint {0:?} must begin with http:// or https://")]
    Endpoint(String),
}

impl Keys {
    /// The first key that only a bucket can have.
    fn bucket_key(&self) -> Option<&'static str> {
        let present = [
            ("bucket_name", self.bucket_name.is_some()),
            ("bucket_region", self.bucket_region.is_some()),
            ("prefix_in_bucket", self.prefix_in_bucket.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("concurrency_limit", self.concurrency_limit.is_some()),
            ("max_keys_per_list_response", self.max_keys_per_list_response.is_some()),
            ("upload_storage_class", self.upload_storage_class.is_some()),
        ];
        present.into_iter().find_map(|(key, present)| present.then_some(key))
    }

    fn bucket(self) -> Result<S3Config, InvalidRemoteStorage> {
        let non_empty = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (name, region) = (non_empty(self.bucket_name), non_empty(self.bucket_region));
        let (bucket_name, bucket_region) = match (name, region) {
            (Some(name), Some(region)) => (name, region),
            (Some(_), None) => {
                let (present, missing) = ("bucket_name", "bucket_region");
                return Err(InvalidRemoteStorage::Incomplete { present, missing });
            }
            (None, Some(_)) => {
                let (present, missing) = ("bucket_region", "bucket_name");
                return Err(InvalidRemoteStorage::Incomplete { present, missing });
            }
            (None, None) => return Err(InvalidRemoteStorage::MissingStore),
        };
        if let Some(keys) = self.max_keys_per_list_response
            && !(1..=MAX_KEYS_PER_PAGE).contains(&keys)
        {
            return Err(InvalidRemoteStorage::PageSize(keys));
        }
        if let Some(endpoint) = &self.endpoint
            && !endpoint.starts_with("http://")
            && !endpoint.starts_with("https://")
        {
            return Err(InvalidRemoteStorage::Endpoint(endpoint.clone()));
        }
        Ok(S3Config {
            bucket_name,
            bucket_region,
            prefix_in_bucket: self.prefix_in_bucket,
            endpoint: self.endpoint,
            concurrency_limit: self.concurrency_limit.unwrap_or(DEFAULT_CONCURRENCY_LIMIT),
            max_keys_per_list_response: self.max_keys_per_list_response,
            upload_storage_class: self.upload_storage_class,
        })
    }
}

impl TryFrom<Keys> for RemoteStorageConfig {
    type Error = InvalidRemoteStorage;

    fn try_from(mut keys: Keys) -> Result<Self, InvalidRemoteStorage> {
        let timeout = keys.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let kind = match keys.local_path.take() {
            Some(local_path) => match keys.bucket_key() {
                Some(key) => return Err(InvalidRemoteStorage::TwoStores(key)),
                None => RemoteStorageKind::LocalFs { local_path },
            },
            None => RemoteStorageKind::S3(keys.bucket()?),
        };
        Ok(RemoteStorageConfig { kind, timeout })
    }
}

impl From<RemoteStorageConfig> for Keys {
    fn from(config: RemoteStorageConfig) -> Keys {
        let timeout = (config.timeout != DEFAULT_TIMEOUT).then_some(config.timeout);
        match config.kind {
            RemoteStorageKind::LocalFs { local_path } => {
                Keys { local_path: Some(local_path), timeout, ..Keys::default() }
            }
            RemoteStorageKind::S3(s3) => Keys {
                local_path: None,
                bucket_name: Some(s3.bucket_name),
                bucket_region: Some(s3.bucket_region),
                prefix_in_bucket: s3.prefix_in_bucket,
                endpoint: s3.endpoint,
                concurrency_limit: (s3.concurrency_limit != DEFAULT_CONCURRENCY_LIMIT)
                    .then_some(s3.concurrency_limit),
                max_keys_per_list_response: s3.max_keys_per_list_response,
                upload_storage_class: s3.upload_storage_class,
                timeout,
            },
        }
    }
}

#[cfg(test)]
mod tests;
