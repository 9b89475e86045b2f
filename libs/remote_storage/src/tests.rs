//! One suite that every backend must pass.

pub(crate) mod temp_store;

use std::ops::Bound;

use bytes::Bytes;
use futures::StreamExt;
use temp_store::temp_store;
use tokio_util::sync::CancellationToken;

use crate::{GenericRemoteStorage, ListMode, RemotePath, RemoteStorageError, UploadBody};

fn path(text: &str) -> RemotePath {
    RemotePath::new(text).unwrap()
}

async fn put(store: &GenericRemoteStorage, key: &str, content: &str) {
    let content = Bytes::copy_from_slice(content.as_bytes());
    store.upload_bytes(content, &path(key), &CancellationToken::new()).await.unwrap();
}

async fn get(store: &GenericRemoteStorage, key: &str) -> Result<Bytes, RemoteStorageError> {
    store.download_bytes(&path(key), &CancellationToken::new()).await
}

async fn list(
    store: &GenericRemoteStorage,
    prefix: &str,
    mode: ListMode,
) -> (Vec<String>, Vec<String>) {
    let prefix = path(prefix);
    let listing = store.list(Some(&prefix), mode, None, &CancellationToken::new()).await.unwrap();
    let text = |paths: Vec<RemotePath>| paths.iter().map(RemotePath::to_string).collect();
    (text(listing.prefixes), text(listing.keys))
}

#[tokio::test]
async fn an_uploaded_object_can_be_read_back() {
    let (_dir, store) = temp_store();
    put(&store, "a/b/c", "hello").await;
    assert_eq!(get(&store, "a/b/c").await.unwrap(), "hello");
    put(&store, "a/b/c", "again").await;
    assert_eq!(get(&store, "a/b/c").await.unwrap(), "again");
}

#[tokio::test]
async fn an_absent_object_is_not_found() {
    let (_dir, store) = temp_store();
    put(&store, "a/b/c", "hello").await;
    for key in ["x", "a/b", "a/b/c/d"] {
        let error = get(&store, key).await.unwrap_err();
        if key != "a/b/c/d" {
            assert!(error.is_not_found(), "{key}: {error}");
        }
    }
}

#[tokio::test]
async fn part_of_an_object_can_be_read() {
    let (_dir, store) = temp_store();
    put(&store, "a", "0123456789").await;
    let cancel = CancellationToken::new();
    let key = path("a");
    let part = store.download_range(&key, 2, Bound::Excluded(5), &cancel).await.unwrap();
    assert_eq!(part.collect(&key).await.unwrap(), "234");
    let rest = store.download_range(&key, 8, Bound::Unbounded, &cancel).await.unwrap();
    assert_eq!(rest.collect(&key).await.unwrap(), "89");
}

#[tokio::test]
async fn a_prefix_matches_as_text() {
    let (_dir, store) = temp_store();
    for key in ["a/b", "a/bc/d", "a/x/y", "ab"] {
        put(&store, key, "").await;
    }
    assert_eq!(list(&store, "a/b", ListMode::NoDelimiter).await.1, ["a/b", "a/bc/d"]);
    assert_eq!(list(&store, "a", ListMode::NoDelimiter).await.1.len(), 4);
    assert_eq!(list(&store, "zzz/y", ListMode::NoDelimiter).await.1.len(), 0);
}

#[tokio::test]
async fn a_delimiter_summarises_what_is_deeper() {
    let (_dir, store) = temp_store();
    for key in ["t/1/x", "t/1/y", "t/2/x", "t/file"] {
        put(&store, key, "").await;
    }
    let (prefixes, keys) = list(&store, "t/", ListMode::WithDelimiter).await;
    assert_eq!(prefixes, ["t/1", "t/2"]);
    assert_eq!(keys, ["t/file"]);
}

#[tokio::test]
async fn deletion_is_idempotent() {
    let (_dir, store) = temp_store();
    put(&store, "a/b", "").await;
    let cancel = CancellationToken::new();
    let both = [path("a/b"), path("a/absent")];
    store.delete_objects(&both, &cancel).await.unwrap();
    store.delete_objects(&both, &cancel).await.unwrap();
    assert!(get(&store, "a/b").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_copy_has_the_same_content() {
    let (_dir, store) = temp_store();
    put(&store, "a", "content").await;
    store.copy(&path("a"), &path("b/c"), &CancellationToken::new()).await.unwrap();
    assert_eq!(get(&store, "b/c").await.unwrap(), "content");
}

#[tokio::test]
async fn a_file_of_unexpected_length_is_refused() {
    let (dir, store) = temp_store();
    let file = camino::Utf8PathBuf::from_path_buf(dir.path().join("file")).unwrap();
    std::fs::write(&file, "12345").unwrap();
    let cancel = CancellationToken::new();
    let error = store.upload_file(&file, 4, &path("a"), &cancel).await.unwrap_err();
    assert!(error.to_string().contains("different size"), "{error}");
    store.upload_file(&file, 5, &path("a"), &cancel).await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), "12345");
    assert_eq!(list(&store, "", ListMode::NoDelimiter).await.1, ["a"]);
}

#[tokio::test]
async fn a_stream_is_stored_with_its_metadata() {
    let (_dir, store) = temp_store();
    let chunks = [Ok(Bytes::from("ab")), Ok(Bytes::from("cd"))];
    let stream = futures::stream::iter(chunks).boxed();
    let metadata = [("kind".to_owned(), "test".to_owned())].into_iter().collect();
    let cancel = CancellationToken::new();
    let body = UploadBody::Stream { stream, size_bytes: 4 };
    store.upload(body, &path("a"), Some(metadata), &cancel).await.unwrap();
    let download = store.download(&path("a"), &cancel).await.unwrap();
    assert_eq!(download.metadata.as_ref().unwrap()["kind"], "test");
    assert_eq!(download.collect(&path("a")).await.unwrap(), "abcd");
    assert_eq!(list(&store, "", ListMode::NoDelimiter).await.1, ["a"]);
}

#[tokio::test]
async fn a_cancelled_token_stops_an_operation() {
    let (_dir, store) = temp_store();
    put(&store, "a", "x").await;
    let cancel = CancellationToken::new();
    let download = store.download(&path("a"), &cancel).await.unwrap();
    cancel.cancel();
    drop(download);
    let error = store.download_bytes(&path("a"), &cancel).await.unwrap_err();
    assert!(error.is_permanent());
}
