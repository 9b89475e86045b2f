//! The table as written, and what it must say.

use std::num::NonZeroUsize;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{
    AzureConfig, DEFAULT_CONCURRENCY_LIMIT, DEFAULT_TIMEOUT, GcsConfig, RemoteStorageConfig,
    RemoteStorageKind, S3Config,
};

/// Keys that a page of a listing has at most, by S3's protocol.
const MAX_KEYS_PER_PAGE: i32 = 1000;

/// All keys there are.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    local_path: Option<Utf8PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gcs_bucket_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_in_bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_in_container: Option<String>,
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
         bucket_name and bucket_region (an S3-compatible bucket), \
         container_name and container_region (Azure Blob Storage), \
         or gcs_bucket_name (Google Cloud Storage)"
    )]
    MissingStore,
    /// Keys of two kinds.
    #[error("remote_storage has {key} and also {other}, which belongs to another kind of store")]
    TwoStores {
        /// The key that tells the kind.
        key: &'static str,
        /// The one that does not fit.
        other: &'static str,
    },
    /// A store without its other mandatory key.
    #[error("remote_storage has {present} but lacks {missing}; both are needed")]
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

/// A kind of store: the keys that tell it, and those it may have beside them.
struct Kind {
    names: &'static [&'static str],
    others: &'static [&'static str],
}

const LOCAL_FS: Kind = Kind { names: &["local_path"], others: &[] };
const S3: Kind = Kind {
    names: &["bucket_name", "bucket_region"],
    others: &[
        "prefix_in_bucket",
        "endpoint",
        "concurrency_limit",
        "max_keys_per_list_response",
        "upload_storage_class",
    ],
};
const AZURE: Kind = Kind {
    names: &["container_name", "container_region"],
    others: &[
        "storage_account",
        "prefix_in_container",
        "endpoint",
        "concurrency_limit",
        "max_keys_per_list_response",
    ],
};
const GCS: Kind =
    Kind { names: &["gcs_bucket_name"], others: &["prefix_in_bucket", "concurrency_limit"] };

impl Kind {
    fn has(&self, key: &str) -> bool {
        self.names.contains(&key) || self.others.contains(&key)
    }
}

impl Keys {
    /// The keys with a value, without those that any store may have.
    fn present(&self) -> Vec<&'static str> {
        let is_set = [
            ("local_path", self.local_path.is_some()),
            ("bucket_name", is_given(&self.bucket_name)),
            ("bucket_region", is_given(&self.bucket_region)),
            ("container_name", is_given(&self.container_name)),
            ("container_region", is_given(&self.container_region)),
            ("gcs_bucket_name", is_given(&self.gcs_bucket_name)),
            ("storage_account", self.storage_account.is_some()),
            ("prefix_in_bucket", self.prefix_in_bucket.is_some()),
            ("prefix_in_container", self.prefix_in_container.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("concurrency_limit", self.concurrency_limit.is_some()),
            ("max_keys_per_list_response", self.max_keys_per_list_response.is_some()),
            ("upload_storage_class", self.upload_storage_class.is_some()),
        ];
        is_set.into_iter().filter_map(|(key, is_set)| is_set.then_some(key)).collect()
    }

    /// The kind of store, if the keys are all of one kind and its mandatory ones are there.
    fn kind(&self) -> Result<&'static Kind, InvalidRemoteStorage> {
        const KINDS: [&Kind; 4] = [&LOCAL_FS, &S3, &AZURE, &GCS];
        let present = self.present();
        let named = |key: &&str| KINDS.into_iter().find(|kind| kind.names.contains(key));
        let found = present.iter().find_map(|key| named(key).map(|kind| (*key, kind)));
        let (key, kind) = found.ok_or(InvalidRemoteStorage::MissingStore)?;
        if let Some(other) = present.iter().copied().find(|other| !kind.has(other)) {
            return Err(InvalidRemoteStorage::TwoStores { key, other });
        }
        match kind.names.iter().find(|name| !present.contains(*name)) {
            Some(missing) => Err(InvalidRemoteStorage::Incomplete { present: key, missing }),
            None => Ok(kind),
        }
    }

    fn check_values(&self) -> Result<(), InvalidRemoteStorage> {
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
        Ok(())
    }
}

/// An empty name is none.
fn is_given(name: &Option<String>) -> bool {
    name.as_ref().is_some_and(|name| !name.is_empty())
}

impl TryFrom<Keys> for RemoteStorageConfig {
    type Error = InvalidRemoteStorage;

    fn try_from(keys: Keys) -> Result<Self, InvalidRemoteStorage> {
        keys.kind()?;
        keys.check_values()?;
        let timeout = keys.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let concurrency_limit = keys.concurrency_limit.unwrap_or(DEFAULT_CONCURRENCY_LIMIT);
        let kind = match keys {
            Keys { local_path: Some(local_path), .. } => RemoteStorageKind::LocalFs { local_path },
            Keys { bucket_name: Some(bucket_name), bucket_region: Some(bucket_region), .. } => {
                RemoteStorageKind::S3(S3Config {
                    bucket_name,
                    bucket_region,
                    prefix_in_bucket: keys.prefix_in_bucket,
                    endpoint: keys.endpoint,
                    concurrency_limit,
                    max_keys_per_list_response: keys.max_keys_per_list_response,
                    upload_storage_class: keys.upload_storage_class,
                })
            }
            Keys {
                container_name: Some(container_name),
                container_region: Some(container_region),
                ..
            } => RemoteStorageKind::Azure(AzureConfig {
                container_name,
                container_region,
                storage_account: keys.storage_account,
                prefix_in_container: keys.prefix_in_container,
                endpoint: keys.endpoint,
                concurrency_limit,
            }),
            Keys { gcs_bucket_name: Some(bucket_name), .. } => RemoteStorageKind::Gcs(GcsConfig {
                bucket_name,
                prefix_in_bucket: keys.prefix_in_bucket,
                concurrency_limit,
            }),
            _ => return Err(InvalidRemoteStorage::MissingStore),
        };
        Ok(RemoteStorageConfig { kind, timeout })
    }
}

impl From<RemoteStorageConfig> for Keys {
    fn from(config: RemoteStorageConfig) -> Keys {
        let limit = |limit| (limit != DEFAULT_CONCURRENCY_LIMIT).then_some(limit);
        let keys = match config.kind {
            RemoteStorageKind::LocalFs { local_path } => {
                Keys { local_path: Some(local_path), ..Keys::default() }
            }
            RemoteStorageKind::S3(s3) => Keys {
                bucket_name: Some(s3.bucket_name),
                bucket_region: Some(s3.bucket_region),
                prefix_in_bucket: s3.prefix_in_bucket,
                endpoint: s3.endpoint,
                concurrency_limit: limit(s3.concurrency_limit),
                max_keys_per_list_response: s3.max_keys_per_list_response,
                upload_storage_class: s3.upload_storage_class,
                ..Keys::default()
            },
            RemoteStorageKind::Azure(azure) => Keys {
                container_name: Some(azure.container_name),
                container_region: Some(azure.container_region),
                storage_account: azure.storage_account,
                prefix_in_container: azure.prefix_in_container,
                endpoint: azure.endpoint,
                concurrency_limit: limit(azure.concurrency_limit),
                ..Keys::default()
            },
            RemoteStorageKind::Gcs(gcs) => Keys {
                gcs_bucket_name: Some(gcs.bucket_name),
                prefix_in_bucket: gcs.prefix_in_bucket,
                concurrency_limit: limit(gcs.concurrency_limit),
                ..Keys::default()
            },
        };
        let timeout = (config.timeout != DEFAULT_TIMEOUT).then_some(config.timeout);
        Keys { timeout, ..keys }
    }
}
