//! A local store in a directory that goes away with the test.

use camino::Utf8PathBuf;

use crate::config::DEFAULT_TIMEOUT;
use crate::{GenericRemoteStorage, RemoteStorageConfig, RemoteStorageKind};

/// Opens a store in a fresh directory.
pub(crate) fn temp_store() -> (tempfile::TempDir, GenericRemoteStorage) {
    let dir = tempfile::tempdir().unwrap();
    let local_path = Utf8PathBuf::from_path_buf(dir.path().join("objects")).unwrap();
    let kind = RemoteStorageKind::LocalFs { local_path };
    let config = RemoteStorageConfig { kind, timeout: DEFAULT_TIMEOUT };
    let store = GenericRemoteStorage::from_config(&config).unwrap();
    (dir, store)
}
