//! A store for tests that keeps the contract and no more: operations fail a set number of times
//! before they succeed, and listings, whose order nothing may rely upon, come backwards.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::backend::{Download, ListMode, Listing, RemoteStorage, StorageMetadata, UploadBody};
use crate::{RemotePath, RemoteStorageError};

/// Wraps another store; the first attempts of each distinct operation fail, and listings come
/// backwards.
pub struct Unreliable {
    inner: Arc<dyn RemoteStorage>,
    failures: u32,
    attempts: Mutex<HashMap<String, u32>>,
}

impl Unreliable {
    /// Lets the first `failures` attempts of every operation on every path fail.
    pub fn new(inner: Arc<dyn RemoteStorage>, failures: u32) -> Self {
        Self { inner, failures, attempts: Mutex::default() }
    }

    /// Counts an attempt. The counter is dropped when the operation is let through, so that a
    /// later one on the same path fails anew.
    fn attempt(&self, operation: &str, path: &str) -> Result<(), RemoteStorageError> {
        self.attempt_all(operation, [path])
    }

    /// The same for an operation on several paths. It fails as a whole, so its counters move, and
    /// are dropped, together: otherwise paths of different counts would fail in turns for ever.
    fn attempt_all<'a>(
        &self,
        operation: &str,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), RemoteStorageError> {
        let names: Vec<String> =
            paths.into_iter().map(|path| format!("{operation} {path}")).collect();
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = None;
        for name in &names {
            let count = attempts.entry(name.clone()).or_insert(0);
            if *count < self.failures {
                *count += 1;
                failed.get_or_insert(name);
            }
        }
        if let Some(name) = failed {
            return Err(RemoteStorageError::Simulated(name.clone()));
        }
        for name in &names {
            attempts.remove(name);
        }
        Ok(())
    }
}

impl RemoteStorage for Unreliable {
    fn list<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Listing, RemoteStorageError>> {
        Box::pin(async move {
            self.attempt("ListPrefixes", prefix.map_or("", RemotePath::as_str))?;
            let mut listing = self.inner.list(prefix, mode, max_keys, cancel).await?;
            listing.keys.reverse();
            listing.prefixes.reverse();
            Ok(listing)
        })
    }

    fn upload<'a>(
        &'a self,
        body: UploadBody,
        to: &'a RemotePath,
        metadata: Option<StorageMetadata>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            self.attempt("Upload", to.as_str())?;
            self.inner.upload(body, to, metadata, cancel).await
        })
    }

    fn download<'a>(
        &'a self,
        from: &'a RemotePath,
        start: u64,
        end: Bound<u64>,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Download, RemoteStorageError>> {
        Box::pin(async move {
            self.attempt("Download", from.as_str())?;
            self.inner.download(from, start, end, cancel).await
        })
    }

    fn delete_objects<'a>(
        &'a self,
        paths: &'a [RemotePath],
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            self.attempt_all("Delete", paths.iter().map(RemotePath::as_str))?;
            self.inner.delete_objects(paths, cancel).await
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            self.attempt("Copy", from.as_str())?;
            self.inner.copy(from, to, cancel).await
        })
    }

    fn time_travel_recover<'a>(
        &'a self,
        prefix: Option<&'a RemotePath>,
        timestamp: SystemTime,
        done_if_after: SystemTime,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), RemoteStorageError>> {
        Box::pin(async move {
            self.attempt("TimeTravelRecover", prefix.map_or("", RemotePath::as_str))?;
            self.inner.time_travel_recover(prefix, timestamp, done_if_after, cancel).await
        })
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    fn concurrency_limit(&self) -> usize {
        self.inner.concurrency_limit()
    }

    fn describe(&self) -> String {
        format!("{} (with simulated failures)", self.inner.describe())
    }
}

#[cfg(test)]
mod tests;
