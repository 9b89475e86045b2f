use super::*;
use crate::ingest::import::tablespaces::tests::control_file;
use crate::keymap::Keymap;
use crate::keymap::memory::MemoryStore;

/// Sends an archive in pieces that split headers.
fn chunked(bytes: Vec<u8>) -> TarChunks {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in bytes.chunks(300) {
            if sender.send(Ok(Bytes::copy_from_slice(piece))).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        header.set_cksum();
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

async fn names(bytes: Vec<u8>) -> Result<Vec<String>, ImportError> {
    let mut files = read_tar(chunked(bytes));
    let mut names = Vec::new();
    while let Some(file) = files.recv().await {
        names.push(file?.path);
    }
    Ok(names)
}

async fn import(bytes: Vec<u8>) -> Result<(), ImportError> {
    import_into(&MemoryStore::new(PgMajor::V15), bytes).await
}

async fn import_into(store: &MemoryStore, bytes: Vec<u8>) -> Result<(), ImportError> {
    let shard = ShardIdentity::unsharded();
    import_base_tar(store, shard, PgMajor::V15, Lsn(0x100), chunked(bytes)).await
}

#[tokio::test]
async fn files_come_in_order() {
    let bytes = archive(&[("global/1", b"x"), ("./base/5/2", &[7; 1000])]);
    assert_eq!(names(bytes).await.unwrap(), ["global/1", "base/5/2"]);
}

#[tokio::test]
async fn an_archive_that_ends_early_is_refused() {
    let whole = archive(&[("global/1", &[7; 1000])]);
    // In a header, in a file, before the end mark, and in it.
    for length in [100, 600, 512 + 1024, 512 + 1024 + 512] {
        let error = names(whole[..length].to_vec()).await.unwrap_err();
        assert!(matches!(error, ImportError::Archive(_)), "{length}: {error}");
    }
}

#[tokio::test]
async fn garbage_behind_an_archive_is_refused() {
    let mut bytes = archive(&[("global/1", b"x")]);
    bytes.extend([0; 512]);
    assert!(names(bytes.clone()).await.is_ok(), "padding is fine");
    bytes.extend([1; 512]);
    let error = names(bytes).await.unwrap_err().to_string();
    assert!(error.contains("non-zero bytes after the tar archive"), "{error}");
}

#[tokio::test]
async fn an_archive_without_a_control_file_is_refused() {
    let error = import(archive(&[])).await.unwrap_err();
    assert!(matches!(error, ImportError::NoControlFile), "{error}");
}

#[tokio::test]
async fn a_relation_of_part_of_a_page_is_refused() {
    let error = import(archive(&[("base/5/16384", b"half a page")])).await.unwrap_err();
    assert!(error.to_string().contains("not a multiple of the page size"), "{error}");
}

#[tokio::test]
async fn tablespaces_of_the_user_are_imported() {
    let store = MemoryStore::new(PgMajor::V15);
    let bytes = archive(&[
        ("tablespace_map", b"16400 /srv/fast\n"),
        ("pg_tblspc/16400/PG_15_202209061/5/pg_filenode.map", b"map"),
        ("pg_tblspc/16400/PG_15_202209061/5/16500", &[7; 8192]),
        ("pg_tblspc/16401/", b""),
        ("global/pg_control", &control_file()),
    ]);
    import_into(&store, bytes).await.unwrap();
    let contents = Keymap::at(&store, store.last_record_lsn());
    let databases: Vec<_> = contents.databases().await.unwrap().into_iter().collect();
    assert_eq!(databases, [((16_400, 0), false), ((16_400, 5), true), ((16_401, 0), false)]);
    assert_eq!(contents.relmap(16_400, 5).await.unwrap(), "map");
    assert_eq!(contents.database_blocks(16_400, 5).await.unwrap(), 1);
}

#[tokio::test]
async fn a_tablespace_that_did_not_come_along_is_missed() {
    let bytes = archive(&[
        ("tablespace_map", b"16400 /srv/fast\n"),
        ("global/pg_control", &control_file()),
    ]);
    let error = import(bytes).await.unwrap_err();
    assert!(matches!(error, ImportError::TablespaceElsewhere { spcnode: 16_400, .. }), "{error}");
}

#[tokio::test]
async fn a_link_to_a_tablespace_is_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "pg_tblspc/16400", "/srv/fast").unwrap();
    let error = import(builder.into_inner().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("pg_tblspc/16400 is a link to a tablespace"), "{error}");
}
