use super::*;
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
    let store = MemoryStore::new(PgMajor::V15);
    let shard = ShardIdentity::unsharded();
    import_base_tar(&store, shard, PgMajor::V15, Lsn(0x100), chunked(bytes)).await
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
async fn tablespaces_of_the_user_are_refused() {
    let error = import(archive(&[("pg_tblspc/16400/x", b"")])).await.unwrap_err();
    assert!(error.to_string().contains("pg_tblspc"), "{error}");
}
