//! One suite that every backend must pass.

pub(crate) mod moto;
pub(crate) mod stores;

use std::ops::Bound;

use bytes::Bytes;
use futures::StreamExt;
use stores::TestStore;
use tokio_util::sync::CancellationToken;

use crate::{GenericRemoteStorage, ListMode, RemotePath, RemoteStorageError, UploadBody};

/// Runs each test of the suite on each store.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod local_fs {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::stores::local_fs()).await;
                }
            )*
        }
        mod cloud {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::stores::cloud().await).await;
                }
            )*
        }
        mod azure {
            $(
                #[tokio::test]
                #[ignore = "needs a server for Azure's protocol; make test-azure starts one"]
                async fn $test() {
                    super::$test(super::stores::azure().await).await;
                }
            )*
        }
        mod s3 {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::stores::s3().await).await;
                }
            )*
        }
    };
}

on_every_store!(
    an_uploaded_object_can_be_read_back,
    an_absent_object_is_not_found,
    part_of_an_object_can_be_read,
    a_prefix_matches_as_text,
    a_delimiter_summarises_what_is_deeper,
    deletion_is_idempotent,
    a_copy_has_the_same_content,
    a_file_of_unexpected_length_is_refused,
    a_stream_is_stored_with_its_metadata,
    a_cancelled_token_stops_an_operation,
    deletions_beyond_one_request_are_complete,
    a_listing_can_be_limited,
    a_range_that_holds_nothing_is_refused,
    a_range_may_end_behind_the_object,
    an_empty_object_can_be_read,
    a_stream_of_another_length_than_announced_is_refused,
    an_absent_object_cannot_be_copied,
    names_with_unusual_characters_are_kept,
    a_large_object_arrives_whole,
    operations_without_a_name_are_refused,
);

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

async fn an_uploaded_object_can_be_read_back(test: TestStore) {
    let store = &test.storage;
    put(store, "a/b/c", "hello").await;
    assert_eq!(get(store, "a/b/c").await.unwrap(), "hello");
    put(store, "a/b/c", "again").await;
    assert_eq!(get(store, "a/b/c").await.unwrap(), "again");
}

async fn an_absent_object_is_not_found(test: TestStore) {
    let store = &test.storage;
    put(store, "a/b/c", "hello").await;
    for key in ["x", "a/b", "a/b/c/d"] {
        let error = get(store, key).await.unwrap_err();
        assert!(error.is_not_found(), "{key}: {error}");
    }
}

async fn part_of_an_object_can_be_read(test: TestStore) {
    let store = &test.storage;
    put(store, "a", "0123456789").await;
    let cancel = CancellationToken::new();
    let key = path("a");
    let part = store.download_range(&key, 2, Bound::Excluded(5), &cancel).await.unwrap();
    assert_eq!(part.collect(&key).await.unwrap(), "234");
    let rest = store.download_range(&key, 8, Bound::Unbounded, &cancel).await.unwrap();
    assert_eq!(rest.collect(&key).await.unwrap(), "89");
}

async fn a_prefix_matches_as_text(test: TestStore) {
    let store = &test.storage;
    for key in ["a/b", "a/bc/d", "a/x/y", "ab"] {
        put(store, key, "").await;
    }
    assert_eq!(list(store, "a/b", ListMode::NoDelimiter).await.1, ["a/b", "a/bc/d"]);
    assert_eq!(list(store, "a", ListMode::NoDelimiter).await.1.len(), 4);
    assert_eq!(list(store, "zzz/y", ListMode::NoDelimiter).await.1.len(), 0);
}

async fn a_delimiter_summarises_what_is_deeper(test: TestStore) {
    let store = &test.storage;
    for key in ["t/1/x", "t/1/y", "t/2/x", "t/file"] {
        put(store, key, "").await;
    }
    let (prefixes, keys) = list(store, "t/", ListMode::WithDelimiter).await;
    assert_eq!(prefixes, ["t/1", "t/2"]);
    assert_eq!(keys, ["t/file"]);
}

async fn deletion_is_idempotent(test: TestStore) {
    let store = &test.storage;
    put(store, "a/b", "").await;
    let cancel = CancellationToken::new();
    let both = [path("a/b"), path("a/absent"), path("a/b/below")];
    store.delete_objects(&both, &cancel).await.unwrap();
    store.delete_objects(&both, &cancel).await.unwrap();
    assert!(get(store, "a/b").await.unwrap_err().is_not_found());
}

async fn a_copy_has_the_same_content(test: TestStore) {
    let store = &test.storage;
    put(store, "a", "content").await;
    store.copy(&path("a"), &path("b/c"), &CancellationToken::new()).await.unwrap();
    assert_eq!(get(store, "b/c").await.unwrap(), "content");
}

async fn a_file_of_unexpected_length_is_refused(test: TestStore) {
    let store = &test.storage;
    let file = camino::Utf8PathBuf::from_path_buf(test.dir.path().join("file")).unwrap();
    std::fs::write(&file, "12345").unwrap();
    let cancel = CancellationToken::new();
    let error = store.upload_file(&file, 4, &path("a"), &cancel).await.unwrap_err();
    assert!(error.to_string().contains("different size"), "{error}");
    store.upload_file(&file, 5, &path("a"), &cancel).await.unwrap();
    assert_eq!(get(store, "a").await.unwrap(), "12345");
    assert_eq!(list(store, "", ListMode::NoDelimiter).await.1, ["a"]);
}

async fn a_stream_is_stored_with_its_metadata(test: TestStore) {
    let store = &test.storage;
    let chunks = [Ok(Bytes::from("ab")), Ok(Bytes::from("cd"))];
    let stream = futures::stream::iter(chunks).boxed();
    let metadata = [("kind".to_owned(), "test".to_owned())].into_iter().collect();
    let cancel = CancellationToken::new();
    let body = UploadBody::Stream { stream, size_bytes: 4 };
    store.upload(body, &path("a"), Some(metadata), &cancel).await.unwrap();
    let download = store.download(&path("a"), &cancel).await.unwrap();
    assert_eq!(download.metadata.as_ref().unwrap()["kind"], "test");
    assert_eq!(download.collect(&path("a")).await.unwrap(), "abcd");
    assert_eq!(list(store, "", ListMode::NoDelimiter).await.1, ["a"]);
}

async fn a_cancelled_token_stops_an_operation(test: TestStore) {
    let store = &test.storage;
    put(store, "a", "x").await;
    let cancel = CancellationToken::new();
    let download = store.download(&path("a"), &cancel).await.unwrap();
    cancel.cancel();
    drop(download);
    let error = store.download_bytes(&path("a"), &cancel).await.unwrap_err();
    assert!(error.is_permanent());
}

async fn deletions_beyond_one_request_are_complete(test: TestStore) {
    let store = &test.storage;
    let paths: Vec<RemotePath> = (0..2001).map(|number| path(&format!("d/{number}"))).collect();
    for kept in ["d/0", "d/999", "d/1000", "d/2000", "other"] {
        put(store, kept, "x").await;
    }
    store.delete_objects(&paths, &CancellationToken::new()).await.unwrap();
    assert_eq!(list(store, "", ListMode::NoDelimiter).await.1, ["other"]);
}

async fn a_listing_can_be_limited(test: TestStore) {
    let store = &test.storage;
    for key in ["l/a", "l/b", "l/c", "l/d"] {
        put(store, key, "").await;
    }
    let (prefix, cancel) = (path("l/"), CancellationToken::new());
    for limit in 1..=5 {
        let max_keys = std::num::NonZeroU32::new(limit);
        let found = store.list(Some(&prefix), ListMode::NoDelimiter, max_keys, &cancel).await;
        assert_eq!(found.unwrap().keys.len(), limit.min(4) as usize, "limit {limit}");
    }
}

async fn a_range_that_holds_nothing_is_refused(test: TestStore) {
    let store = &test.storage;
    put(store, "a", "0123456789").await;
    let (key, cancel) = (path("a"), CancellationToken::new());
    for (start, end) in [(10, Bound::Unbounded), (5, Bound::Excluded(5)), (20, Bound::Excluded(30))]
    {
        let result = store.download_range(&key, start, end, &cancel).await;
        let error = result.err().unwrap_or_else(|| panic!("range from {start} was accepted"));
        assert!(matches!(error, RemoteStorageError::BadInput(_)), "{error}");
    }
}

async fn a_range_may_end_behind_the_object(test: TestStore) {
    let store = &test.storage;
    put(store, "a", "0123456789").await;
    let (key, cancel) = (path("a"), CancellationToken::new());
    let part = store.download_range(&key, 7, Bound::Excluded(100), &cancel).await.unwrap();
    assert_eq!(part.collect(&key).await.unwrap(), "789");
    let last = store.download_range(&key, 9, Bound::Included(9), &cancel).await.unwrap();
    assert_eq!(last.collect(&key).await.unwrap(), "9");
}

async fn an_empty_object_can_be_read(test: TestStore) {
    let store = &test.storage;
    put(store, "empty", "").await;
    assert_eq!(get(store, "empty").await.unwrap(), "");
}

async fn a_stream_of_another_length_than_announced_is_refused(test: TestStore) {
    let store = &test.storage;
    for size_bytes in [3, 5] {
        let chunks = [Ok(Bytes::from("ab")), Ok(Bytes::from("cd"))];
        let stream = futures::stream::iter(chunks).boxed();
        let body = UploadBody::Stream { stream, size_bytes };
        let cancel = CancellationToken::new();
        let error = store.upload(body, &path("a"), None, &cancel).await.unwrap_err();
        assert!(error.to_string().contains("different size"), "{error}");
        assert!(get(store, "a").await.unwrap_err().is_not_found());
    }
}

async fn an_absent_object_cannot_be_copied(test: TestStore) {
    let store = &test.storage;
    let result = store.copy(&path("absent"), &path("b"), &CancellationToken::new()).await;
    assert!(result.unwrap_err().is_not_found());
}

async fn names_with_unusual_characters_are_kept(test: TestStore) {
    let store = &test.storage;
    let key = "odd/a b+c%20=&?#\u{e4}";
    put(store, key, "odd").await;
    assert_eq!(get(store, key).await.unwrap(), "odd");
    assert_eq!(list(store, "odd/", ListMode::NoDelimiter).await.1, [key]);
    store.copy(&path(key), &path("copy of it"), &CancellationToken::new()).await.unwrap();
    assert_eq!(get(store, "copy of it").await.unwrap(), "odd");
}

async fn a_large_object_arrives_whole(test: TestStore) {
    let store = &test.storage;
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let file = camino::Utf8PathBuf::from_path_buf(test.dir.path().join("large")).unwrap();
    std::fs::write(&file, &content).unwrap();
    let cancel = CancellationToken::new();
    store.upload_file(&file, content.len() as u64, &path("large"), &cancel).await.unwrap();
    assert!(get(store, "large").await.unwrap() == content);
}

async fn operations_without_a_name_are_refused(test: TestStore) {
    let store = &test.storage;
    for name in ["", "a/"] {
        let error = get(store, name).await.unwrap_err();
        assert!(matches!(error, RemoteStorageError::BadInput(_)), "{error}");
    }
}
