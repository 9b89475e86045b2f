//! Listings. The crate lists whole directories; prefixes here are text.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use futures::TryStreamExt;
use object_store::path::Path;

use super::{CloudStore, errors};
use crate::backend::{ListMode, Listing};
use crate::{RemotePath, RemoteStorageError};

impl CloudStore {
    pub(super) async fn list_from(
        &self,
        prefix: Option<&RemotePath>,
        mode: ListMode,
        max_keys: Option<NonZeroU32>,
    ) -> Result<Listing, RemoteStorageError> {
        let shown = prefix.map_or("", RemotePath::as_str);
        let start = self.prefix.full(shown);
        let directory = match start.rsplit_once('/') {
            Some((directory, _)) => Some(Path::parse(directory).map_err(|error| {
                RemoteStorageError::BadInput(format!("listing prefix {shown}: {error}"))
            })?),
            None => None,
        };
        let failed = |error| errors::map("list", shown, error);
        let (objects, common) = match mode {
            ListMode::NoDelimiter => {
                let objects: Vec<_> =
                    self.store.list(directory.as_ref()).try_collect().await.map_err(failed)?;
                (objects, Vec::new())
            }
            ListMode::WithDelimiter => {
                let found = self.store.list_with_delimiter(directory.as_ref()).await;
                let found = found.map_err(failed)?;
                (found.objects, found.common_prefixes)
            }
        };
        let objects = objects.iter().map(|object| &object.location);
        let keys = self.paths(objects, &start)?;
        let wanted = max_keys.map_or(usize::MAX, |max| max.get() as usize);
        Ok(Listing {
            prefixes: self.paths(common.iter(), &start)?.into_iter().collect(),
            keys: keys.into_iter().take(wanted).collect(),
        })
    }

    /// Those that begin with the text, in order.
    fn paths<'a>(
        &self,
        found: impl Iterator<Item = &'a Path>,
        start: &str,
    ) -> Result<BTreeSet<RemotePath>, RemoteStorageError> {
        let wanted = found.map(Path::as_ref).filter(|key| key.starts_with(start));
        wanted.map(|key| self.prefix.path(key)).collect()
    }
}
