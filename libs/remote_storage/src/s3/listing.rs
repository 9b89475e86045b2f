//! Listings, page by page.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::{S3Bucket, errors};
use crate::backend::{ListMode, Listing};
use crate::{RemotePath, RemoteStorageError};

impl S3Bucket {
    pub(super) async fn list_pages(
        &self,
        prefix: Option<&RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
    ) -> Result<Listing, RemoteStorageError> {
        let shown = prefix.map_or("", RemotePath::as_str);
        let wanted = max_keys.map_or(usize::MAX, |max| max.get() as usize);
        let (mut keys, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        let mut continuation = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.prefix.full(shown))
                .set_delimiter((mode == ListMode::WithDelimiter).then(|| "/".to_owned()))
                .set_max_keys(self.page_size(wanted - keys.len()))
                .set_continuation_token(continuation);
            let page = request.send().await.map_err(|error| errors::map("list", shown, error))?;
            for key in page.contents().iter().filter_map(|object| object.key()) {
                keys.insert(self.prefix.path(key)?);
            }
            for common in page.common_prefixes().iter().filter_map(|common| common.prefix()) {
                prefixes.insert(self.prefix.path(common.trim_end_matches('/'))?);
            }
            continuation = page.next_continuation_token;
            if keys.len() >= wanted || !page.is_truncated.unwrap_or(false) {
                break;
            }
            if continuation.is_none() {
                let reason = "the page is not the last but does not say how to go on";
                return Err(errors::failed("list", shown, reason));
            }
        }
        Ok(Listing {
            prefixes: prefixes.into_iter().collect(),
            keys: keys.into_iter().take(wanted).collect(),
        })
    }

    fn page_size(&self, missing: usize) -> Option<i32> {
        let missing = i32::try_from(missing).ok();
        match (self.page_keys, missing) {
            (Some(page), Some(missing)) => Some(page.min(missing)),
            (page, missing) => page.or(missing.filter(|missing| *missing <= 1000)),
        }
    }
}
