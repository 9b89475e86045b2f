//! The stores that the suite runs on.

use std::sync::Arc;

use camino::Utf8PathBuf;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::moto::Moto;
use crate::cloud::CloudStore;
use crate::config::{AzureConfig, DEFAULT_CONCURRENCY_LIMIT, DEFAULT_TIMEOUT};
use crate::prefix::KeyPrefix;
use crate::{GenericRemoteStorage, RemoteStorageConfig, RemoteStorageKind};

/// A store that goes away with the test.
pub(crate) struct TestStore {
    pub storage: GenericRemoteStorage,
    /// Room for local files.
    pub dir: TempDir,
    _moto: Option<Moto>,
}

/// A directory.
pub(crate) fn local_fs() -> TestStore {
    let dir = tempfile::tempdir().unwrap();
    let local_path = Utf8PathBuf::from_path_buf(dir.path().join("objects")).unwrap();
    let kind = RemoteStorageKind::LocalFs { local_path };
    let config = RemoteStorageConfig { kind, timeout: DEFAULT_TIMEOUT };
    let storage = GenericRemoteStorage::from_config(&config).unwrap();
    TestStore { storage, dir, _moto: None }
}

/// What stands for a container of a cloud: a store in memory behind the same interface, below a
/// prefix.
pub(crate) async fn cloud() -> TestStore {
    let memory = Arc::new(InMemory::new());
    let neighbour = ObjectPath::from("some/prefix-2/a/b");
    memory.put(&neighbour, "not ours".into()).await.unwrap();
    let prefix = KeyPrefix::new(Some("some/prefix"));
    let store = CloudStore::new(memory, prefix, 10, "memory".to_owned());
    let storage = GenericRemoteStorage::new(Arc::new(store), DEFAULT_TIMEOUT);
    TestStore { storage, dir: tempfile::tempdir().unwrap(), _moto: None }
}

/// A prefix of its own in the container `suite` of the server whose URL, with the account, is in
/// `AZURE_TEST_ENDPOINT`; the account's key is in Azure's own variable.
pub(crate) async fn azure() -> TestStore {
    let dir = tempfile::tempdir().unwrap();
    // The directory's name is unique.
    let prefix = dir.path().file_name().unwrap().to_str().unwrap().replace('.', "");
    let config = |prefix: String| AzureConfig {
        container_name: "suite".to_owned(),
        container_region: "here".to_owned(),
        storage_account: Some("devstoreaccount1".to_owned()),
        prefix_in_container: Some(prefix),
        endpoint: Some(std::env::var("AZURE_TEST_ENDPOINT").unwrap()),
        concurrency_limit: DEFAULT_CONCURRENCY_LIMIT,
    };
    let open = |kind| {
        let config = RemoteStorageConfig { kind, timeout: DEFAULT_TIMEOUT };
        GenericRemoteStorage::from_config(&config).unwrap()
    };
    let neighbour = open(RemoteStorageKind::Azure(config(format!("{prefix}-2"))));
    let object = crate::RemotePath::new("a/b").unwrap();
    neighbour.upload_bytes("not ours".into(), &object, &CancellationToken::new()).await.unwrap();
    TestStore { storage: open(RemoteStorageKind::Azure(config(prefix))), dir, _moto: None }
}

/// A bucket in a server of this test, below a prefix, with listings of two keys a page.
pub(crate) async fn s3() -> TestStore {
    let moto = Moto::start();
    let bucket = moto.bucket("suite").await;
    // A neighbour whose name begins alike must not be seen.
    let neighbour = moto.config("suite", Some("some/prefix-2"));
    moto.put_raw(&neighbour, "a/b", "not ours").await;
    TestStore { storage: bucket, dir: tempfile::tempdir().unwrap(), _moto: Some(moto) }
}
