//! A bucket of an S3-compatible store, through the AWS SDK.
//!
//! Works with stores other than Amazon's: path-style addresses when an endpoint is configured,
//! no checksums but those the protocol demands. The SDK's own retries and timeouts are off;
//! callers and [`GenericRemoteStorage`](crate::GenericRemoteStorage) have theirs.

use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::types::StorageClass;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::backend::{Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody};
use crate::config::S3Config;
use crate::prefix::KeyPrefix;
use crate::{RemotePath, RemoteStorageError};

mod body;
mod credentials;
mod delete;
mod errors;
mod listing;
mod time_travel;
mod transfer;

/// Time to reach the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Access to one bucket.
pub struct S3Bucket {
    pub(crate) client: Client,
    bucket: String,
    prefix: KeyPrefix,
    page_keys: Option<i32>,
    storage_class: Option<StorageClass>,
    concurrency_limit: usize,
    timeout: Duration,
    endpoint: Option<String>,
}

impl S3Bucket {
    /// Prepares access to the bucket. Nothing is sent yet. `timeout` is for each request of an
    /// operation that consists of many.
    pub fn new(config: &S3Config, timeout: Duration) -> S3Bucket {
        let region = Region::new(config.bucket_region.clone());
        let credentials = SharedCredentialsProvider::new(credentials::Environment::new(region));
        Self::with_credentials(config, timeout, credentials)
    }

    pub(crate) fn with_credentials(
        config: &S3Config,
        timeout: Duration,
        credentials: SharedCredentialsProvider,
    ) -> S3Bucket {
        S3Bucket {
            client: client(config, credentials),
            bucket: config.bucket_name.clone(),
            prefix: KeyPrefix::new(config.prefix_in_bucket.as_deref()),
            page_keys: config.max_keys_per_list_response,
            storage_class: config.upload_storage_class.as_deref().map(StorageClass::from),
            concurrency_limit: config.concurrency_limit.get(),
            timeout,
            endpoint: config.endpoint.clone(),
        }
    }
}

fn client(config: &S3Config, credentials: SharedCredentialsProvider) -> Client {
    let plain = config.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.bucket_region.clone()))
        .credentials_provider(credentials)
        .http_client(credentials::http_client(plain))
        .retry_config(RetryConfig::adaptive().with_max_attempts(1))
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Stores other than Amazon's refuse the checksums that the SDK adds by default.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(builder.build())
}

impl RemoteStorage for S3Bucket {
    fn list<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Listing, RemoteStorageError>> {
        Box::pin(self.list_pages(prefix, mode, max_keys))
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
        Box::pin(self.delete_batches(paths))
    }

    fn copy<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(self.copy_current(from, to))
    }

    fn time_travel_recover<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        timestamp: SystemTime,
        done_if_after: SystemTime,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(self.recover(prefix, timestamp, done_if_after, cancel))
    }

    fn concurrency_limit(&self) -> usize {
        self.concurrency_limit
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let at = self.endpoint.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("bucket {}{}{at}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests;
