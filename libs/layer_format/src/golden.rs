//! What the tests of layer files share: the identities of the golden files, and a directory.

use camino::{Utf8Path, Utf8PathBuf};
use pageserver_api::Key;
use sha2::{Digest, Sha256};
use utils::{TenantId, TimelineId};

pub(crate) fn tenant() -> TenantId {
    "11223344556677881122334455667788".parse().unwrap()
}

pub(crate) fn timeline() -> TimelineId {
    "00112233445566778899aabbccddeeff".parse().unwrap()
}

/// Block `number` of relation 1663/5/16384.
pub(crate) fn block_key(number: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, number)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A directory that goes away with the test.
pub(crate) struct TempDirectory {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl TempDirectory {
    pub(crate) fn new() -> TempDirectory {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        TempDirectory { _dir: dir, path }
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(crate) fn file_names(&self) -> Vec<String> {
        let entries = self.path.read_dir_utf8().unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_owned()).collect()
    }
}
