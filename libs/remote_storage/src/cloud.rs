//! Azure Blob Storage and Google Cloud Storage, through the `object_store` crate.
//!
//! The crate's own retries and request timeouts are off; callers and
//! [`GenericRemoteStorage`](crate::GenericRemoteStorage) have theirs.

use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use tokio_util::sync::CancellationToken;

use crate::backend::{Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody};
use crate::config::{AzureConfig, GcsConfig};
use crate::prefix::KeyPrefix;
use crate::{RemotePath, RemoteStorageError};

mod errors;
mod listing;
mod transfer;

/// Time to reach the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Environment variables of an Azure account; without a key other credentials are looked for.
const AZURE_ACCOUNT_VARIABLE: &str = "AZURE_STORAGE_ACCOUNT";
const AZURE_KEY_VARIABLE: &str = "AZURE_STORAGE_ACCESS_KEY";

/// Access to one container or bucket.
pub struct CloudStore {
    store: Arc<dyn ObjectStore>,
    prefix: KeyPrefix,
    concurrency_limit: usize,
    /// What it is, for log lines.
    name: String,
}

impl CloudStore {
    /// Prepares access to a container of Azure Blob Storage. Nothing is sent yet.
    pub fn azure(config: &AzureConfig) -> Result<CloudStore, RemoteStorageError> {
        let plain = config.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_container_name(&config.container_name)
            .with_client_options(client_options(plain))
            .with_retry(no_retries());
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(account) = config.storage_account.clone().or(variable(AZURE_ACCOUNT_VARIABLE)) {
            builder = builder.with_account(account);
        }
        if let Some(key) = variable(AZURE_KEY_VARIABLE) {
            builder = builder.with_access_key(key);
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let store = builder.build().map_err(|error| errors::not_opened(&error))?;
        let prefix = KeyPrefix::new(config.prefix_in_container.as_deref());
        let name = format!("container {}{prefix}", config.container_name);
        Ok(CloudStore::new(Arc::new(store), prefix, config.concurrency_limit.get(), name))
    }

    /// Prepares access to a bucket of Google Cloud Storage. Nothing is sent yet.
    pub fn gcs(config: &GcsConfig) -> Result<CloudStore, RemoteStorageError> {
        let builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(&config.bucket_name)
            .with_client_options(client_options(false))
            .with_retry(no_retries());
        let store = builder.build().map_err(|error| errors::not_opened(&error))?;
        let prefix = KeyPrefix::new(config.prefix_in_bucket.as_deref());
        let name = format!("GCS bucket {}{prefix}", config.bucket_name);
        Ok(CloudStore::new(Arc::new(store), prefix, config.concurrency_limit.get(), name))
    }

    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: KeyPrefix,
        concurrency_limit: usize,
        name: String,
    ) -> CloudStore {
        CloudStore { store, prefix, concurrency_limit, name }
    }

    /// Where an object is.
    fn location(&self, path: &RemotePath) -> Result<Path, RemoteStorageError> {
        let key = self.prefix.key(path)?;
        Path::parse(&key)
            .map_err(|error| RemoteStorageError::BadInput(format!("object name {path}: {error}")))
    }
}

fn client_options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(allow_http)
}

fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

impl RemoteStorage for CloudStore {
    fn list<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Listing, RemoteStorageError>> {
        Box::pin(self.list_from(prefix, mode, max_keys))
    }

    fn upload<'a>(
        &'a self,
        body: UploadBody,
        to: &'a RemotePath,
        metadata: Option<StorageMetadata>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(self.put(body, to, metadata))
    }

    fn download<'a>(
        &'a self,
        from: &'a RemotePath,
        start: u64,
        end: Bound<u64>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Download, RemoteStorageError>> {
        Box::pin(self.get(from, start, end))
    }

    fn delete_objects<'a>(
        &'a self,
        paths: &'a [RemotePath],
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(self.delete_each(paths))
    }

    fn copy<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(self.copy_object(from, to))
    }

    fn time_travel_recover<'a>(
        &'a self,
        _prefix: Option<&'a RemotePath>,
        _timestamp: SystemTime,
        _done_if_after: SystemTime,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        let reason = "recovery to a time needs versions of objects, which this reads from \
                      S3-compatible stores only";
        Box::pin(async move { Err(RemoteStorageError::BadInput(reason.to_owned())) })
    }

    fn concurrency_limit(&self) -> usize {
        self.concurrency_limit
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests;
