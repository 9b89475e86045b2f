use super::*;
use crate::remote::testing::TestStore;

fn path(text: &str) -> RemotePath {
    RemotePath::new(text).unwrap()
}

#[tokio::test]
async fn a_flush_returns_when_the_objects_are_gone() {
    let store = TestStore::new();
    store.put("a", "1").await;
    store.put("b", "2").await;
    let queue = store.resources().deletion_queue;
    queue.push(vec![path("a"), path("absent")]).await.unwrap();
    queue.flush().await.unwrap();
    assert_eq!(store.keys().await, ["b"]);
}

#[tokio::test]
async fn failed_deletions_are_retried() {
    let mut store = TestStore::new();
    store.put("a", "1").await;
    store.storage = store.storage.with_simulated_failures(2);
    let queue = store.resources().deletion_queue;
    queue.push(vec![path("a")]).await.unwrap();
    queue.flush().await.unwrap();
    assert!(store.get("a").await.is_none());
}

#[tokio::test]
async fn a_stopped_queue_refuses_deletions() {
    let store = TestStore::new();
    let (queue, client) = DeletionQueue::new(store.storage.clone(), store.cancel.clone());
    store.cancel.cancel();
    queue.run().await;
    assert_eq!(client.push(vec![path("a")]).await, Err(DeletionError));
}
