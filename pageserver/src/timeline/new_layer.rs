//! A finished layer file that no layer map names yet.

use camino::Utf8PathBuf;
use layer_format::LayerName;

/// Owns the file until it is published: dropped before, it removes the file, so that the work
/// can be repeated under the same name.
pub(super) struct NewLayer {
    pub(super) name: LayerName,
    pub(super) size_bytes: u64,
    path: Utf8PathBuf,
    published: bool,
}

impl NewLayer {
    pub(super) fn new((name, path, size_bytes): (LayerName, Utf8PathBuf, u64)) -> NewLayer {
        NewLayer { name, size_bytes, path, published: false }
    }

    /// The layer map names the file from now on.
    pub(super) fn published(mut self) {
        self.published = true;
    }
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!("cannot remove unused layer file {}: {error}", self.path);
        }
    }
}
