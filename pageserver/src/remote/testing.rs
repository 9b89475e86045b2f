//! Remote storage in a temporary directory, for tests of this room and its neighbours.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use remote_storage::{GenericRemoteStorage, ListMode, LocalFs, RemotePath};
use tokio_util::sync::CancellationToken;

use super::RemoteResources;
use crate::control_plane::ControlPlane;
use crate::deletion_queue::DeletionQueue;

/// A store that vanishes with the test.
pub struct TestStore {
    directory: tempfile::TempDir,
    pub storage: GenericRemoteStorage,
    pub cancel: CancellationToken,
}

impl Default for TestStore {
    fn default() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().join("remote")).unwrap();
        let backend = Arc::new(LocalFs::new(root).unwrap());
        let storage = GenericRemoteStorage::new(backend, Duration::from_secs(60));
        TestStore { directory, storage, cancel: CancellationToken::new() }
    }
}

impl TestStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory beside the store.
    pub fn local_dir(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().to_owned()).unwrap()
    }

    /// What clients need, with a running deletion queue. Must be called in a runtime.
    pub fn resources(&self) -> RemoteResources {
        let (queue, deletion_queue) = DeletionQueue::new(
            self.storage.clone(),
            None,
            self.local_dir().join("deletion"),
            self.cancel.clone(),
        );
        deletion_queue.recover(HashMap::new()).unwrap();
        tokio::spawn(queue.run());
        RemoteResources {
            storage: self.storage.clone(),
            deletion_queue,
            control_plane: ControlPlane::default(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    pub async fn put(&self, path: &str, content: impl Into<Bytes>) {
        let path = RemotePath::new(path).unwrap();
        self.storage.upload_bytes(content.into(), &path, &self.cancel).await.unwrap();
    }

    pub async fn get(&self, path: &str) -> Option<Bytes> {
        let path = RemotePath::new(path).unwrap();
        self.storage.download_bytes(&path, &self.cancel).await.ok()
    }

    /// Every object.
    pub async fn keys(&self) -> Vec<String> {
        let listing =
            self.storage.list(None, ListMode::NoDelimiter, None, &self.cancel).await.unwrap();
        listing.keys.iter().map(ToString::to_string).collect()
    }
}
