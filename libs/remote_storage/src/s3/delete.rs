//! Deletions, a thousand objects a request.

use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_types::base64;
use md5::{Digest, Md5};

use super::{S3Bucket, errors};
use crate::{RemotePath, RemoteStorageError, metrics};

/// Objects that one request may name, by the protocol.
const BATCH_OBJECTS: usize = 1000;
/// Headers with which the SDK proves the integrity of a deletion request.
const CHECKSUM_HEADERS: [&str; 2] = ["x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"];

impl S3Bucket {
    pub(super) async fn delete_batches(
        &self,
        paths: &[RemotePath],
    ) -> Result<(), RemoteStorageError> {
        for batch in paths.chunks(BATCH_OBJECTS) {
            let keys: Result<Vec<String>, _> =
                batch.iter().map(|path| self.prefix.key(path)).collect();
            self.delete_keys(keys?).await?;
        }
        Ok(())
    }

    /// Deletes at most [`BATCH_OBJECTS`] keys. An object that is refused fails the whole call.
    pub(super) async fn delete_keys(&self, keys: Vec<String>) -> Result<(), RemoteStorageError> {
        let Some(first) = keys.first().cloned() else { return Ok(()) };
        let failed = |reason: String| errors::failed("delete", &first, reason);
        let count = keys.len();
        let objects: Result<Vec<ObjectIdentifier>, _> =
            keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let delete = Delete::builder()
            .set_objects(Some(objects.map_err(|error| failed(error.to_string()))?))
            .quiet(true)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let answer = request
            .customize()
            .mutate_request(|request| {
                let digest = md5_of(request.body());
                let headers = request.headers_mut();
                for header in CHECKSUM_HEADERS {
                    headers.remove(header);
                }
                // The integrity check of old, which every store knows.
                headers.insert("content-md5", digest);
            })
            .send()
            .await
            .map_err(|error| errors::map("delete", &first, error))?;
        let refused = answer.errors();
        metrics::DELETED_OBJECTS.inc_by(count.saturating_sub(refused.len()) as u64);
        match refused.first() {
            None => Ok(()),
            Some(example) => Err(failed(format!(
                "{} of {count} objects were refused, such as {}: {} {}",
                refused.len(),
                example.key().unwrap_or("(unnamed)"),
                example.code().unwrap_or("(no code)"),
                example.message().unwrap_or_default(),
            ))),
        }
    }
}

fn md5_of(body: &SdkBody) -> String {
    base64::encode(Md5::digest(body.bytes().unwrap_or_default()))
}
