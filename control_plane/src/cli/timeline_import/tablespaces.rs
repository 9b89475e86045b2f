//! Archives of tablespaces, which `pg_basebackup -Ft` writes beside that of the data directory.
//!
//! Sends each without its end, its entries moved to where they belong in the data directory, so
//! that together with the base archive they are one archive.

use anyhow::{Context, bail};
use camino::{Utf8Path, Utf8PathBuf};
use postgres_client::CopyIn;
use postgres_ffi::Oid;
use postgres_ffi::tablespace::TABLESPACES_DIRECTORY;
use tokio::io::{AsyncReadExt, BufReader};

use super::CHUNK_BYTES;

/// Size of a tar block.
const BLOCK_BYTES: usize = 512;
/// The first number that PostgreSQL gives to what users create.
const FIRST_NORMAL_OID: Oid = 16_384;

/// A tablespace's archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tablespace {
    pub(super) oid: Oid,
    path: Utf8PathBuf,
}

/// The archives in the directory of the base archive, which must be those of its tablespaces:
/// `pg_basebackup` writes into empty directories only.
pub(super) fn beside(base_tarfile: &Utf8Path) -> anyhow::Result<Vec<Tablespace>> {
    let directory = match base_tarfile.parent() {
        Some(parent) if parent != "" => parent,
        _ => Utf8Path::new("."),
    };
    let cannot_list = || format!("cannot list {directory}");
    let mut found = Vec::new();
    for entry in directory.read_dir_utf8().with_context(cannot_list)? {
        let path = entry.with_context(cannot_list)?.into_path();
        let oid = path.file_stem().and_then(|name| name.parse().ok());
        if let Some(oid) = oid.filter(|oid| *oid >= FIRST_NORMAL_OID)
            && path.extension() == Some("tar")
            && path != base_tarfile
        {
            found.push(Tablespace { oid, path });
        }
    }
    found.sort_unstable_by_key(|tablespace| tablespace.oid);
    Ok(found)
}

impl Tablespace {
    /// Sends the entries, and fails if the archive ends before it says so.
    pub(super) async fn send(&self, stream: &mut CopyIn) -> anyhow::Result<()> {
        let Tablespace { oid, path } = self;
        let cannot_read = || format!("cannot read the archive of tablespace {oid}, {path}");
        let file = tokio::fs::File::open(path).await.with_context(cannot_read)?;
        let mut file = BufReader::with_capacity(CHUNK_BYTES, file);
        let mut block = [0; BLOCK_BYTES];
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            file.read_exact(&mut block).await.with_context(cannot_read)?;
            let Some((header, size_bytes)) = moved(&block, *oid).with_context(cannot_read)? else {
                return Ok(());
            };
            stream.send(&header).await?;
            let mut left = size_bytes.next_multiple_of(BLOCK_BYTES as u64);
            while left > 0 {
                let length = left.min(CHUNK_BYTES as u64) as usize;
                let chunk = &mut buffer[..length];
                file.read_exact(chunk).await.with_context(cannot_read)?;
                stream.send(chunk).await?;
                left -= length as u64;
            }
        }
    }
}

/// The header of the same entry in the archive of the data directory, and the size of its
/// content; `None` at the archive's end.
fn moved(block: &[u8; BLOCK_BYTES], oid: Oid) -> anyhow::Result<Option<([u8; BLOCK_BYTES], u64)>> {
    if *block == [0; BLOCK_BYTES] {
        return Ok(None);
    }
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(block);
    let path =
        String::from_utf8(header.path_bytes().into_owned()).context("a path is not UTF-8")?;
    let kind = header.entry_type();
    if !kind.is_file() && !kind.is_dir() {
        bail!("entry {path:?} is neither a file nor a directory");
    }
    let size_bytes = header.entry_size().with_context(|| format!("entry {path:?} is damaged"))?;
    let path = path.trim_start_matches("./");
    header.set_path(format!("{TABLESPACES_DIRECTORY}/{oid}/{path}"))?;
    header.set_cksum();
    Ok(Some((*header.as_bytes(), size_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, kind: tar::EntryType) -> [u8; BLOCK_BYTES] {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_size(700);
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn entries_move_into_the_data_directory() {
        let file = header("PG_15_202209061/5/16500", tar::EntryType::Regular);
        let (moved, size_bytes) = moved(&file, 16_400).unwrap().unwrap();
        assert_eq!(size_bytes, 700);
        let mut archive = tar::Archive::new(moved.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let expected = "pg_tblspc/16400/PG_15_202209061/5/16500";
        assert_eq!(entry.path().unwrap().to_str().unwrap(), expected);
    }

    #[test]
    fn an_empty_block_ends_the_archive() {
        assert!(moved(&[0; BLOCK_BYTES], 16_400).unwrap().is_none());
    }

    #[test]
    fn links_are_refused() {
        let link = header("PG_15_202209061/5/16500", tar::EntryType::Symlink);
        assert!(moved(&link, 16_400).is_err());
    }

    #[test]
    fn only_archives_named_by_a_number_that_users_have_are_of_tablespaces() {
        let directory = tempfile::tempdir().unwrap();
        let directory = Utf8Path::from_path(directory.path()).unwrap();
        let names =
            ["base.tar", "16401.tar", "16400.tar", "15.tar", "16402.tar.gz", "pg_wal.tar", "16403"];
        for name in names {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let found = beside(&directory.join("base.tar")).unwrap();
        let expected = [16_400, 16_401]
            .map(|oid| Tablespace { oid, path: directory.join(format!("{oid}.tar")) });
        assert_eq!(found, expected);
    }
}
