//! Changes to auxiliary files.

use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::models::AuxFilePolicy;

use super::{DatadirModification, ModificationError};
use crate::keymap::aux_files::{aux_file_key, encode_aux_files};
use crate::keymap::directories::{AuxFilesDirectory, Directory};
use crate::keymap::directory_counts::DirectoryKind;
use crate::keymap::store::{KeyReader, KeyStore};

impl<S: KeyStore> DatadirModification<'_, S> {
    /// Sets a file, or removes it if the content is empty. It is stored as files of the timeline
    /// were before; the first one as the tenant wants it, and one key per file if it has no wish.
    pub async fn put_aux_file(
        &mut self,
        path: &str,
        content: Bytes,
    ) -> Result<(), ModificationError> {
        let in_one_value = self.keymap().aux_files_v1().await?;
        let wanted = self.store.wanted_aux_file_policy();
        let policy = next_policy(self.aux_file_policy(), wanted, in_one_value.is_empty());
        let known = match policy {
            AuxFilePolicy::V1 => self.put_aux_file_v1(in_one_value, path, &content),
            AuxFilePolicy::V2 => self.put_aux_file_v2(path, &content).await?,
            AuxFilePolicy::CrossValidation => {
                let known = self.put_aux_file_v1(in_one_value, path, &content);
                self.put_aux_file_v2(path, &content).await? || known
            }
        };
        if content.is_empty() && !known {
            tracing::warn!("removing non-existing aux file: {path}");
        }
        self.effects.aux_file_policy = Some(policy);
        Ok(())
    }

    /// Whether the file was there.
    fn put_aux_file_v1(
        &mut self,
        mut files: BTreeMap<String, Bytes>,
        path: &str,
        content: &Bytes,
    ) -> bool {
        let known = files.remove(path).is_some();
        if !content.is_empty() {
            files.insert(path.to_owned(), content.clone());
        }
        let directory = AuxFilesDirectory(files);
        let written = (directory.encode(), directory.0.len());
        self.put_directory(Key::AUX_FILES_V1, Some(DirectoryKind::AuxFiles), written);
        known
    }

    /// Whether the file was there.
    async fn put_aux_file_v2(
        &mut self,
        path: &str,
        content: &Bytes,
    ) -> Result<bool, ModificationError> {
        let key = aux_file_key(path);
        let mut files = self.keymap().aux_files_of_key(key).await?;
        let before = files.len();
        files.retain(|(known, _)| known != path);
        let known = files.len() < before;
        if !content.is_empty() {
            files.push((path.to_owned(), content.clone()));
        }
        self.put_image(key, encode_aux_files(&files));
        Ok(known)
    }
}

/// How the next file is stored. Files in one value that nobody wrote down how to read stay there;
/// of those that are stored both ways the one value can be given up.
fn next_policy(
    recorded: Option<AuxFilePolicy>,
    wanted: Option<AuxFilePolicy>,
    none_in_one_value: bool,
) -> AuxFilePolicy {
    match (recorded, wanted) {
        (None, _) if !none_in_one_value => AuxFilePolicy::V1,
        (None, wanted) => wanted.unwrap_or(AuxFilePolicy::V2),
        (Some(AuxFilePolicy::CrossValidation), Some(AuxFilePolicy::V2)) => AuxFilePolicy::V2,
        (Some(recorded), _) => recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_once_written_down_stays() {
        use AuxFilePolicy::{CrossValidation, V1, V2};
        assert_eq!(next_policy(None, None, true), V2);
        assert_eq!(next_policy(None, Some(V1), true), V1);
        assert_eq!(next_policy(None, Some(CrossValidation), true), CrossValidation);
        assert_eq!(next_policy(None, Some(V2), false), V1);
        for wanted in [None, Some(V1), Some(V2), Some(CrossValidation)] {
            assert_eq!(next_policy(Some(V1), wanted, true), V1);
            assert_eq!(next_policy(Some(V2), wanted, false), V2);
        }
        assert_eq!(next_policy(Some(CrossValidation), Some(V1), false), CrossValidation);
        assert_eq!(next_policy(Some(CrossValidation), Some(V2), false), V2);
    }
}
