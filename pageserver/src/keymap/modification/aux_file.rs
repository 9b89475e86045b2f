//! Changes to auxiliary files.

use bytes::Bytes;
use pageserver_api::Key;

use super::{DatadirModification, ModificationError};
use crate::keymap::aux_files::{aux_file_key, encode_aux_files};
use crate::keymap::directories::{AuxFilesDirectory, Directory};
use crate::keymap::store::KeyStore;

impl<S: KeyStore> DatadirModification<'_, S> {
    /// Sets a file, or removes it if the content is empty. A timeline that holds files in the
    /// version 1 encoding keeps to it; every other uses version 2.
    pub async fn put_aux_file(
        &mut self,
        path: &str,
        content: Bytes,
    ) -> Result<(), ModificationError> {
        let version_1 = self.keymap().aux_files_v1().await?;
        if version_1.is_empty() {
            return self.put_aux_file_v2(path, content).await;
        }
        let mut files = version_1;
        if content.is_empty() {
            if files.remove(path).is_none() {
                tracing::warn!("removing non-existing aux file: {path}");
            }
        } else {
            files.insert(path.to_owned(), content);
        }
        self.put_image(Key::AUX_FILES_V1, AuxFilesDirectory(files).encode());
        Ok(())
    }

    async fn put_aux_file_v2(
        &mut self,
        path: &str,
        content: Bytes,
    ) -> Result<(), ModificationError> {
        let key = aux_file_key(path);
        let mut files = self.keymap().aux_files_of_key(key).await?;
        let before = files.len();
        files.retain(|(known, _)| known != path);
        if !content.is_empty() {
            files.push((path.to_owned(), content));
        } else if files.len() == before {
            tracing::warn!("removing non-existing aux file: {path}");
        }
        self.put_image(key, encode_aux_files(&files));
        Ok(())
    }
}
