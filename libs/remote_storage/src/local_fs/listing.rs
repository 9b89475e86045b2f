//! Listing of a directory as if it were a flat set of keys.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU32;

use camino::{Utf8Path, Utf8PathBuf};

use super::{METADATA_SUFFIX, TEMP_SUFFIX};
use crate::RemotePath;
use crate::backend::{ListMode, Listing};

/// Lists keys that begin with `prefix` as text: `a/b` also finds `a/bc`.
pub(super) fn list(
    root: &Utf8Path,
    prefix: &str,
    mode: ListMode,
    max_keys: Option<NonZeroU32>,
) -> io::Result<Listing> {
    // Only the deepest directory the prefix names completely can hold matching keys.
    let directory = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut keys = BTreeSet::new();
    let mut prefixes = BTreeSet::new();
    let mut pending = vec![Utf8PathBuf::from(directory)];
    while let Some(relative) = pending.pop() {
        for (name, is_directory) in entries(&root.join(&relative))? {
            let key = relative.join(name);
            if is_directory {
                // A directory can matter by what is in it, or by what is below the prefix.
                let inside = format!("{key}/");
                if !inside.starts_with(prefix) && !prefix.starts_with(&inside) {
                    continue;
                }
                match mode {
                    ListMode::WithDelimiter if key.as_str().starts_with(prefix) => {
                        prefixes.insert(key);
                    }
                    ListMode::WithDelimiter | ListMode::NoDelimiter => pending.push(key),
                }
            } else if key.as_str().starts_with(prefix) {
                keys.insert(key);
            }
        }
    }
    let limit = max_keys.map_or(usize::MAX, |max| max.get() as usize);
    Ok(Listing { prefixes: to_paths(prefixes, usize::MAX)?, keys: to_paths(keys, limit)? })
}

fn entries(directory: &Utf8Path) -> io::Result<Vec<(String, bool)>> {
    let listing = match directory.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_owned();
        if name.ends_with(TEMP_SUFFIX) || name.ends_with(METADATA_SUFFIX) {
            continue;
        }
        found.push((name, entry.file_type()?.is_dir()));
    }
    Ok(found)
}

fn to_paths(keys: BTreeSet<Utf8PathBuf>, limit: usize) -> io::Result<Vec<RemotePath>> {
    let convert = |key: Utf8PathBuf| RemotePath::new(key.into_string()).map_err(io::Error::other);
    keys.into_iter().take(limit).map(convert).collect()
}
