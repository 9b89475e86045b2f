//! Uploads, downloads, copies and deletions.

use std::io;
use std::ops::Bound;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, WriteMultipart,
};

use super::{CloudStore, errors};
use crate::backend::{Download, StorageMetadata, UploadBody};
use crate::sized_body;
use crate::{RemotePath, RemoteStorageError};

/// Larger objects are uploaded in parts of this size. Both stores ask for more than 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts in transit at once.
const PARTS: usize = 4;
/// Deletions in transit at once: these stores have no request for many.
const DELETIONS: usize = 10;

impl CloudStore {
    pub(super) async fn put(
        &self,
        body: UploadBody,
        to: &RemotePath,
        metadata: Option<StorageMetadata>,
    ) -> Result<(), RemoteStorageError> {
        let location = self.location(to)?;
        let attributes = attributes(metadata);
        let size_bytes = body.size_bytes();
        let failed =
            |source| RemoteStorageError::Io { action: "upload", path: to.to_string(), source };
        let mut content = sized_body::open(body).await.map_err(failed)?;
        if size_bytes <= PART_BYTES as u64 {
            let chunks: Vec<Bytes> = content.try_collect().await.map_err(failed)?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            let sent = self.store.put_opts(&location, PutPayload::from_iter(chunks), options).await;
            return sent.map(drop).map_err(|error| errors::map("upload", to.as_str(), error));
        }
        let sent_failed = |error| errors::map("upload", to.as_str(), error);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let upload =
            self.store.put_multipart_opts(&location, options).await.map_err(sent_failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        while let Some(chunk) = content.next().await {
            let sent = match chunk {
                Ok(chunk) => {
                    let room = writer.wait_for_capacity(PARTS).await.map_err(sent_failed);
                    room.map(|()| writer.put(chunk))
                }
                Err(error) => Err(failed(error)),
            };
            if let Err(failure) = sent {
                // Parts that stay behind are no object; stores drop them in time.
                let _ = writer.abort().await;
                return Err(failure);
            }
        }
        writer.finish().await.map(drop).map_err(sent_failed)
    }

    pub(super) async fn get(
        &self,
        from: &RemotePath,
        start: u64,
        end: Bound<u64>,
    ) -> Result<Download, RemoteStorageError> {
        let location = self.location(from)?;
        let range = range(from, start, end)?;
        let is_ranged = range.is_some();
        let options = GetOptions { range, ..GetOptions::default() };
        let answer = match self.store.get_opts(&location, options).await {
            Ok(answer) => answer,
            // Stores differ in how they refuse a range that holds nothing.
            Err(error) => {
                let found = if is_ranged { self.store.head(&location).await.ok() } else { None };
                return Err(match found {
                    Some(object) if object.size <= start => RemoteStorageError::BadInput(format!(
                        "{from}: the range begins at or behind the end of the object"
                    )),
                    _ => errors::map("download", from.as_str(), error),
                });
            }
        };
        let metadata = answer.attributes.iter().filter_map(|(attribute, value)| match attribute {
            Attribute::Metadata(name) => Some((name.to_string(), value.to_string())),
            _ => None,
        });
        let metadata: StorageMetadata = metadata.collect();
        Ok(Download {
            etag: answer.meta.e_tag.clone().unwrap_or_default(),
            last_modified: SystemTime::from(answer.meta.last_modified),
            metadata: (!metadata.is_empty()).then_some(metadata),
            stream: answer.into_stream().map_err(io::Error::other).boxed(),
        })
    }

    pub(super) async fn delete_each(&self, paths: &[RemotePath]) -> Result<(), RemoteStorageError> {
        let deletions = stream::iter(paths.to_vec()).map(|path| self.delete_one(path));
        deletions.buffer_unordered(DELETIONS).try_collect().await
    }

    async fn delete_one(&self, path: RemotePath) -> Result<(), RemoteStorageError> {
        let Err(error) = self.store.delete(&self.location(&path)?).await else { return Ok(()) };
        match errors::map("delete", path.as_str(), error) {
            failure if failure.is_not_found() => Ok(()),
            failure => Err(failure),
        }
    }

    pub(super) async fn copy_object(
        &self,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), RemoteStorageError> {
        let (source, target) = (self.location(from)?, self.location(to)?);
        let copied = self.store.copy(&source, &target).await;
        copied.map_err(|error| errors::map("copy", from.as_str(), error))
    }
}

fn attributes(metadata: Option<StorageMetadata>) -> Attributes {
    let pairs = metadata.unwrap_or_default().into_iter();
    pairs.map(|(name, value)| (Attribute::Metadata(name.into()), value)).collect()
}

/// What to ask for; nothing for the whole object.
fn range(
    from: &RemotePath,
    start: u64,
    end: Bound<u64>,
) -> Result<Option<GetRange>, RemoteStorageError> {
    let end = match end {
        Bound::Unbounded if start == 0 => return Ok(None),
        Bound::Unbounded => return Ok(Some(GetRange::Offset(start))),
        Bound::Excluded(end) => end,
        Bound::Included(last) => last.saturating_add(1),
    };
    match start < end {
        true => Ok(Some(GetRange::Bounded(start..end))),
        false => {
            Err(RemoteStorageError::BadInput(format!("{from}: the range from {start} is empty")))
        }
    }
}
