use crate::tests::stores::local_fs;
use bytes::Bytes;

use super::*;

#[tokio::test]
async fn an_operation_succeeds_after_the_configured_failures() {
    let test = local_fs();
    let store = test.storage.with_simulated_failures(2);
    let path = RemotePath::new("a/b").unwrap();
    let cancel = CancellationToken::new();
    for _ in 0..2 {
        let error = store.upload_bytes(Bytes::from("x"), &path, &cancel).await.unwrap_err();
        assert!(error.to_string().starts_with("simulated failure of remote operation Upload"));
        assert!(!error.is_permanent());
    }
    store.upload_bytes(Bytes::from("x"), &path, &cancel).await.unwrap();
}

#[tokio::test]
async fn a_deletion_of_many_objects_fails_as_often_as_one_of_a_single_object() {
    let test = local_fs();
    let store = test.storage.with_simulated_failures(2);
    let path = |text| RemotePath::new(text).unwrap();
    let cancel = CancellationToken::new();
    // One of them has failed before.
    assert!(store.delete(&path("b"), &cancel).await.is_err());
    let all = [path("a"), path("b"), path("c")];
    for _ in 0..2 {
        assert!(store.delete_objects(&all, &cancel).await.is_err());
    }
    store.delete_objects(&all, &cancel).await.unwrap();
}

#[tokio::test]
async fn listings_come_backwards() {
    let test = local_fs();
    let cancel = CancellationToken::new();
    for name in ["a/1", "a/2", "b"] {
        let path = RemotePath::new(name).unwrap();
        test.storage.upload_bytes(Bytes::from("x"), &path, &cancel).await.unwrap();
    }
    let store = test.storage.with_simulated_failures(0);
    let listing = store.list(None, ListMode::NoDelimiter, None, &cancel).await.unwrap();
    assert_eq!(listing.keys, ["b", "a/2", "a/1"].map(|name| RemotePath::new(name).unwrap()));
}
