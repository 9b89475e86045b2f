//! Decisions for one object, and a bucket brought back.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::GenericRemoteStorage;
use crate::tests::moto::Moto;

const NOW: u64 = 100;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A history: versions by name, `None` for deletions; the last is today's state.
fn history(changes: &[(u64, Option<&str>)]) -> Vec<Change> {
    let last = changes.len() - 1;
    let change = |(index, (time, version)): (usize, &(u64, Option<&str>))| Change {
        time: at(*time),
        is_latest: index == last,
        version: version.map(str::to_owned),
    };
    changes.iter().enumerate().map(change).collect()
}

fn check(changes: &[(u64, Option<&str>)], travel_to: u64, expected: Step) {
    assert_eq!(step(history(changes), at(travel_to), at(NOW)), expected, "{changes:?}");
}

#[test]
fn an_overwritten_object_gets_its_old_content() {
    let changes = [(10, Some("v1")), (20, Some("v2")), (30, Some("v3"))];
    check(&changes, 25, Step::Restore("v2".to_owned()));
}

#[test]
fn an_unchanged_object_is_left_alone() {
    check(&[(10, Some("v1"))], 25, Step::Nothing);
    check(&[(10, Some("v1")), (20, None)], 25, Step::Nothing);
}

#[test]
fn a_deleted_object_comes_back() {
    check(&[(10, Some("v1")), (30, None)], 25, Step::Restore("v1".to_owned()));
}

#[test]
fn an_object_that_did_not_exist_is_deleted() {
    check(&[(30, Some("v1"))], 25, Step::Delete);
    check(&[(10, Some("v1")), (20, None), (30, Some("v2"))], 25, Step::Delete);
    check(&[(30, Some("v1")), (40, None)], 25, Step::Nothing);
}

#[test]
fn an_object_that_an_earlier_attempt_recovered_is_left_alone() {
    check(&[(10, Some("v1")), (30, Some("v2")), (NOW, Some("v3"))], 25, Step::Nothing);
}

#[test]
fn the_order_of_the_listing_does_not_matter() {
    let mut changes = history(&[(10, Some("v1")), (30, Some("v2")), (30, None)]);
    changes.reverse();
    assert_eq!(step(changes, at(10), at(NOW)), Step::Restore("v1".to_owned()));
}

async fn put(store: &GenericRemoteStorage, key: &str, content: &'static str) {
    let path = RemotePath::new(key).unwrap();
    store.upload_bytes(Bytes::from(content), &path, &CancellationToken::new()).await.unwrap();
}

async fn get(store: &GenericRemoteStorage, key: &str) -> Result<Bytes, RemoteStorageError> {
    store.download_bytes(&RemotePath::new(key).unwrap(), &CancellationToken::new()).await
}

/// The store's times are whole seconds: what happens now must not share one with what comes next.
async fn next_second() -> SystemTime {
    let now = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    now + Duration::from_secs(1)
}

#[tokio::test]
async fn a_versioned_bucket_is_brought_back_to_a_time() {
    let moto = Moto::start();
    let store = moto.versioned_bucket("history").await;
    let cancel = CancellationToken::new();
    for (key, content) in [("t/kept", "kept"), ("t/changed", "old"), ("t/deleted", "back")] {
        put(&store, key, content).await;
    }
    put(&store, "outside", "old").await;
    let travel_to = next_second().await;
    for (key, content) in [("t/changed", "new"), ("t/added", "new"), ("outside", "new")] {
        put(&store, key, content).await;
    }
    store.delete(&RemotePath::new("t/deleted").unwrap(), &cancel).await.unwrap();
    let done_if_after = next_second().await;
    let prefix = RemotePath::new("t/").unwrap();
    for attempt in ["first", "repeated"] {
        let recovery = store.time_travel_recover(Some(&prefix), travel_to, done_if_after, &cancel);
        recovery.await.unwrap();
        for (key, content) in [("t/kept", "kept"), ("t/changed", "old"), ("t/deleted", "back")] {
            assert_eq!(get(&store, key).await.unwrap(), content, "{key}, {attempt}");
        }
        assert!(get(&store, "t/added").await.unwrap_err().is_not_found(), "{attempt}");
        assert_eq!(get(&store, "outside").await.unwrap(), "new", "{attempt}");
    }
}

#[tokio::test]
async fn a_bucket_without_versions_is_refused() {
    let moto = Moto::start();
    let store = moto.bucket("plain").await;
    put(&store, "a", "x").await;
    let result = store.time_travel_recover(None, at(1), at(2), &CancellationToken::new()).await;
    let error = result.unwrap_err();
    assert!(matches!(error, RemoteStorageError::BadInput(_)), "{error}");
    assert!(error.to_string().contains("keeps no versions"), "{error}");
}
