//! Uploads, downloads and copies.

use std::ops::Bound;
use std::time::SystemTime;

use aws_sdk_s3::types::MetadataDirective;

use super::{S3Bucket, body, errors};
use crate::backend::{Download, StorageMetadata, UploadBody};
use crate::{RemotePath, RemoteStorageError};

impl S3Bucket {
    pub(super) async fn put(
        &self,
        content: UploadBody,
        to: &RemotePath,
        metadata: Option<StorageMetadata>,
    ) -> Result<(), RemoteStorageError> {
        let key = self.prefix.key(to)?;
        let size_bytes = i64::try_from(content.size_bytes())
            .map_err(|_| RemoteStorageError::BadInput(format!("{to} is too large")))?;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_metadata(metadata)
            .set_storage_class(self.storage_class.clone())
            .content_length(size_bytes)
            .body(body::upload(content, to.as_str()).await?);
        let sent = request.send().await;
        sent.map(drop).map_err(|error| errors::map("upload", to.as_str(), error))
    }

    pub(super) async fn get(
        &self,
        from: &RemotePath,
        start: u64,
        end: Bound<u64>,
    ) -> Result<Download, RemoteStorageError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.prefix.key(from)?)
            .set_range(range_header(from, start, end)?);
        let answer =
            request.send().await.map_err(|error| errors::map("download", from.as_str(), error))?;
        let last_modified = answer.last_modified.and_then(|time| SystemTime::try_from(time).ok());
        let last_modified = last_modified.ok_or_else(|| {
            errors::failed("download", from.as_str(), "the answer has no modification time")
        })?;
        Ok(Download {
            stream: body::download(answer.body),
            etag: answer.e_tag.unwrap_or_default(),
            last_modified,
            metadata: answer.metadata.filter(|metadata| !metadata.is_empty()),
        })
    }

    pub(super) async fn copy_current(
        &self,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), RemoteStorageError> {
        self.copy_source(&self.prefix.key(from)?, None, &self.prefix.key(to)?, from).await
    }

    /// Copies an object, or one version of it, with what is stored beside it.
    pub(super) async fn copy_source(
        &self,
        source_key: &str,
        version: Option<&str>,
        target_key: &str,
        shown: &RemotePath,
    ) -> Result<(), RemoteStorageError> {
        let mut source = format!("{}/{}", self.bucket, percent_encoded(source_key));
        if let Some(version) = version {
            source.push_str(&format!("?versionId={}", percent_encoded(version)));
        }
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(target_key)
            .set_storage_class(self.storage_class.clone())
            .metadata_directive(MetadataDirective::Copy)
            .copy_source(source);
        let sent = request.send().await;
        sent.map(drop).map_err(|error| errors::map("copy", shown.as_str(), error))
    }
}

/// The value of the `Range` header; none for the whole object.
fn range_header(
    from: &RemotePath,
    start: u64,
    end: Bound<u64>,
) -> Result<Option<String>, RemoteStorageError> {
    let last = match end {
        Bound::Unbounded if start == 0 => return Ok(None),
        Bound::Unbounded => return Ok(Some(format!("bytes={start}-"))),
        Bound::Excluded(end) => end.checked_sub(1),
        Bound::Included(last) => Some(last),
    };
    match last.filter(|last| start <= *last) {
        Some(last) => Ok(Some(format!("bytes={start}-{last}"))),
        None => {
            Err(RemoteStorageError::BadInput(format!("{from}: the range from {start} is empty")))
        }
    }
}

/// Everything but unreserved characters and slashes, as the header of a copy wants it.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
