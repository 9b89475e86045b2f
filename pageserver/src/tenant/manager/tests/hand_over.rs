//! Before somebody else may be given a tenant, what it wanted deleted is deleted.

use std::time::Instant;

use layer_format::paths::remote_layer_path;
use layer_format::{LayerFileMetadata, LayerName};
use pageserver_api::Key;
use utils::Lsn;

use super::*;
use crate::deletion_queue::AUTOFLUSH_DELAY;

/// Hands a stored layer over for deletion. Its object's path.
async fn condemn_layer(node: &Node) -> String {
    let timeline = TimelineId::generate();
    let name = LayerName::image(Key::MIN..Key::MAX, Lsn(16));
    let metadata = LayerFileMetadata::new(1, Generation::Valid(1), node.shard.to_index());
    let path = remote_layer_path(&node.shard.tenant_id, &timeline, &name, &metadata);
    node.store.put(&path, "x").await;
    let queue = &node.manager.resources.remote.deletion_queue;
    queue.push_layers(node.shard, timeline, Generation::Valid(1), &[(name, metadata)]).unwrap();
    path
}

/// Whether an object goes away long before the queue would have got to it by itself.
async fn is_deleted_early(node: &Node, path: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < AUTOFLUSH_DELAY / 2 {
        if node.store.get(path).await.is_none() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test]
async fn a_tenant_that_becomes_stale_has_its_deletions_executed() {
    let node = Node::new().await;
    node.attach(1).await;
    let path = condemn_layer(&node).await;
    node.put_location(LocationConfigMode::AttachedStale, 1).await.unwrap();
    assert!(is_deleted_early(&node, &path).await);
}

#[tokio::test]
async fn a_tenant_that_becomes_secondary_has_its_deletions_executed() {
    let node = Node::new().await;
    node.attach(1).await;
    let path = condemn_layer(&node).await;
    node.put_secondary(true).await;
    assert!(is_deleted_early(&node, &path).await);
}

#[tokio::test]
async fn a_node_that_stops_has_its_deletions_executed() {
    let node = Node::new().await;
    node.attach(1).await;
    let path = condemn_layer(&node).await;
    node.manager.shutdown().await;
    assert!(is_deleted_early(&node, &path).await);
}
