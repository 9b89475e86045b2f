//! The stores that the suite runs on.

use camino::Utf8PathBuf;
use tempfile::TempDir;

use super::moto::Moto;
use crate::config::DEFAULT_TIMEOUT;
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

/// A bucket in a server of this test, below a prefix, with listings of two keys a page.
pub(crate) async fn s3() -> TestStore {
    let moto = Moto::start();
    let bucket = moto.bucket("suite").await;
    // A neighbour whose name begins alike must not be seen.
    let neighbour = moto.config("suite", Some("some/prefix-2"));
    moto.put_raw(&neighbour, "a/b", "not ours").await;
    TestStore { storage: bucket, dir: tempfile::tempdir().unwrap(), _moto: Some(moto) }
}
