//! The workers together, on a directory as the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use layer_format::paths::remote_layer_path;
use pageserver_api::Key;
use utils::TenantId;

use super::*;
use crate::control_plane::NoAnswer;
use crate::remote::testing::TestStore;

const GENERATION: Generation = Generation::Valid(5);

/// A control plane that knows one current generation for every shard.
struct Plane {
    current: AtomicU32,
    reachable: tokio::sync::watch::Sender<bool>,
}

impl Plane {
    fn new(current: u32) -> Arc<Plane> {
        let reachable = tokio::sync::watch::Sender::new(true);
        Arc::new(Plane { current: AtomicU32::new(current), reachable })
    }
}

impl Authority for Plane {
    fn validate<'a>(
        &'a self,
        asked: &'a BTreeMap<TenantShardId, Generation>,
    ) -> BoxFuture<'a, Result<BTreeMap<TenantShardId, Generation>, NoAnswer>> {
        Box::pin(async move {
            let mut reachable = self.reachable.subscribe();
            reachable.wait_for(|reachable| *reachable).await.map_err(|_| NoAnswer)?;
            let current = Generation::Valid(self.current.load(Ordering::SeqCst));
            Ok(asked.iter().filter(|(_, g)| **g == current).map(|(s, g)| (*s, *g)).collect())
        })
    }
}

struct Fixture {
    store: TestStore,
    plane: Arc<Plane>,
    shard: TenantShardId,
    timeline: TimelineId,
}

impl Fixture {
    fn new(current: u32) -> Fixture {
        Fixture {
            store: TestStore::new(),
            plane: Plane::new(current),
            shard: TenantShardId::unsharded(TenantId::generate()),
            timeline: TimelineId::generate(),
        }
    }

    fn directory(&self) -> Utf8PathBuf {
        self.store.local_dir().join("deletion")
    }

    /// A process: it ends with the token.
    fn start(&self) -> (DeletionQueueClient, CancellationToken) {
        let cancel = CancellationToken::new();
        let authority: Arc<dyn Authority> = self.plane.clone();
        let (queue, client) = DeletionQueue::new(
            self.store.storage.clone(),
            Some(authority),
            self.directory(),
            cancel.clone(),
        );
        tokio::spawn(queue.run());
        (client, cancel)
    }

    /// A process that is attached in a generation.
    fn attached(&self, generation: u32) -> (DeletionQueueClient, CancellationToken) {
        let (client, cancel) = self.start();
        let attached = [(self.shard, Generation::Valid(generation))].into();
        client.recover(attached).unwrap();
        (client, cancel)
    }

    /// A layer that is in the store.
    async fn layer(&self, lsn: u64) -> (LayerName, LayerFileMetadata) {
        let name = LayerName::image(Key::MIN..Key::MAX, Lsn(lsn));
        let metadata = LayerFileMetadata::new(1, Generation::Valid(2), self.shard.to_index());
        let path = remote_layer_path(&self.shard.tenant_id, &self.timeline, &name, &metadata);
        self.store.put(&path, "x").await;
        (name, metadata)
    }

    fn push(
        &self,
        client: &DeletionQueueClient,
        generation: u32,
        layer: &(LayerName, LayerFileMetadata),
    ) {
        let layers = std::slice::from_ref(layer);
        let generation = Generation::Valid(generation);
        client.push_layers(self.shard, self.timeline, generation, layers).unwrap();
    }

    async fn objects(&self) -> usize {
        self.store.keys().await.len()
    }

    fn files(&self) -> Vec<String> {
        let entries = self.directory().read_dir_utf8().unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn deletions_of_a_current_generation_are_executed_and_forgotten() {
    let fixture = Fixture::new(5);
    let (client, _cancel) = fixture.attached(5);
    let layer = fixture.layer(16).await;
    fixture.push(&client, 5, &layer);
    client.flush_execute().await.unwrap();
    assert_eq!(fixture.objects().await, 0);
    assert_eq!(fixture.files(), ["header-01"]);
}

#[tokio::test]
async fn deletions_of_a_stale_generation_are_dropped() {
    let fixture = Fixture::new(6);
    let (client, _cancel) = fixture.attached(5);
    let layer = fixture.layer(16).await;
    fixture.push(&client, 5, &layer);
    client.flush_execute().await.unwrap();
    assert_eq!(fixture.objects().await, 1);
    assert_eq!(fixture.files(), ["header-01"]);
}

#[tokio::test]
async fn a_flush_persists_and_deletes_nothing() {
    let fixture = Fixture::new(5);
    fixture.plane.reachable.send_replace(false);
    let (client, _cancel) = fixture.attached(5);
    let layer = fixture.layer(16).await;
    fixture.push(&client, 5, &layer);
    client.flush().await.unwrap();
    assert_eq!(fixture.files(), ["0000000000000001-01.list"]);
    assert_eq!(fixture.objects().await, 1);
}

/// What a first process in generation 5 leaves, taken up by a second one.
async fn restarted(current: u32, attached: u32) -> Fixture {
    let fixture = Fixture::new(current);
    fixture.plane.reachable.send_replace(false);
    let (first, cancel) = fixture.attached(5);
    let layer = fixture.layer(16).await;
    fixture.push(&first, 5, &layer);
    first.flush().await.unwrap();
    cancel.cancel();
    fixture.plane.reachable.send_replace(true);
    let (second, _cancel) = fixture.attached(attached);
    second.flush_execute().await.unwrap();
    fixture
}

#[tokio::test]
async fn lists_of_our_last_attachment_are_executed_after_a_restart() {
    let fixture = restarted(6, 6).await;
    assert_eq!(fixture.objects().await, 0);
    assert_eq!(fixture.files(), ["header-01"]);
}

#[tokio::test]
async fn lists_of_before_somebody_elses_attachment_are_dropped_after_a_restart() {
    let fixture = restarted(7, 7).await;
    assert_eq!(fixture.objects().await, 1);
    assert_eq!(fixture.files(), ["header-01"]);
}

#[tokio::test]
async fn validated_lists_are_executed_after_a_restart_in_any_case() {
    let fixture = Fixture::new(9);
    let layer = fixture.layer(16).await;
    let mut list = layer_format::DeletionList::new(3);
    let names = vec![layer.0.remote_object_name(layer.1.generation)];
    list.push(fixture.shard, fixture.timeline, GENERATION, names).unwrap();
    std::fs::create_dir_all(fixture.directory()).unwrap();
    let file = fixture.directory().join(layer_format::DeletionList::file_name(3));
    std::fs::write(file, list.to_json().unwrap()).unwrap();
    let header = layer_format::DeletionHeader::new(3).to_json().unwrap();
    std::fs::write(fixture.directory().join("header-01"), header).unwrap();
    let (client, _cancel) = fixture.attached(9);
    client.flush_execute().await.unwrap();
    assert_eq!(fixture.objects().await, 0);
    // The numbers go on where they were.
    let layer = fixture.layer(24).await;
    fixture.plane.reachable.send_replace(false);
    fixture.push(&client, 9, &layer);
    client.flush().await.unwrap();
    assert_eq!(fixture.files(), ["0000000000000004-01.list", "header-01"]);
}

#[tokio::test]
async fn a_shard_attached_anew_gets_a_list_of_its_own() {
    let fixture = Fixture::new(6);
    fixture.plane.reachable.send_replace(false);
    let (client, _cancel) = fixture.attached(5);
    let (old, new) = (fixture.layer(16).await, fixture.layer(24).await);
    fixture.push(&client, 5, &old);
    fixture.push(&client, 6, &new);
    client.flush().await.unwrap();
    assert_eq!(fixture.files().len(), 2);
    fixture.plane.reachable.send_replace(true);
    client.flush_execute().await.unwrap();
    // Only what the current generation wanted is gone.
    assert_eq!(fixture.objects().await, 1);
    assert!(fixture.store.keys().await[0].contains(&old.0.to_string()));
}

#[tokio::test]
async fn nothing_happens_before_the_generations_are_known() {
    let fixture = Fixture::new(5);
    let (client, _cancel) = fixture.start();
    let layer = fixture.layer(16).await;
    fixture.push(&client, 5, &layer);
    let mut flush = Box::pin(client.flush_execute());
    assert!(futures::poll!(&mut flush).is_pending());
    client.recover([(fixture.shard, GENERATION)].into()).unwrap();
    flush.await.unwrap();
    assert_eq!(fixture.objects().await, 0);
}

#[tokio::test]
async fn leftovers_do_not_stop_the_queue() {
    let fixture = Fixture::new(5);
    std::fs::create_dir_all(fixture.directory()).unwrap();
    for (name, content) in [
        ("header-01", "{"),
        ("0000000000000007-01.list", "not a list"),
        ("0000000000000008-01.list.tmp", ""),
        ("something", ""),
    ] {
        std::fs::write(fixture.directory().join(name), content).unwrap();
    }
    let (client, _cancel) = fixture.attached(5);
    let layer = fixture.layer(16).await;
    fixture.push(&client, 5, &layer);
    client.flush_execute().await.unwrap();
    assert_eq!(fixture.objects().await, 0);
    assert_eq!(fixture.files(), ["0000000000000007-01.list", "header-01", "something"]);
}

#[tokio::test]
async fn a_position_is_published_when_its_generation_is_current() {
    let fixture = Fixture::new(5);
    let (client, _cancel) = fixture.attached(5);
    let visible = Arc::new(AtomicLsn::new(Lsn(8)));
    let update = |generation, lsn| {
        let (shard, timeline) = (fixture.shard, fixture.timeline);
        let generation = Generation::Valid(generation);
        client.update_remote_consistent_lsn(shard, timeline, generation, Lsn(lsn), &visible);
    };
    update(5, 16);
    assert_eq!(visible.load(), Lsn(8), "nobody has been asked");
    client.flush_execute().await.unwrap();
    assert_eq!(visible.load(), Lsn(16));
    fixture.plane.current.store(6, Ordering::SeqCst);
    update(5, 24);
    client.flush_execute().await.unwrap();
    assert_eq!(visible.load(), Lsn(16), "the generation is stale");
}

#[tokio::test]
async fn immediate_deletions_ask_nobody() {
    let fixture = Fixture::new(5);
    fixture.plane.reachable.send_replace(false);
    let (client, _cancel) = fixture.attached(5);
    fixture.store.put("a", "1").await;
    fixture.store.put("b", "2").await;
    let path = |text| RemotePath::new(text).unwrap();
    client.push_immediate(vec![path("a"), path("absent")]).await.unwrap();
    client.flush_immediate().await.unwrap();
    assert_eq!(fixture.store.keys().await, ["b"]);
}

#[tokio::test]
async fn failed_deletions_are_retried() {
    let mut fixture = Fixture::new(5);
    fixture.store.storage = fixture.store.storage.with_simulated_failures(1);
    let (client, _cancel) = fixture.attached(5);
    let path = RemotePath::new("a").unwrap();
    client.push_immediate(vec![path]).await.unwrap();
    client.flush_immediate().await.unwrap();
}

#[tokio::test]
async fn a_stopped_queue_refuses_deletions() {
    let store = TestStore::new();
    let directory = store.local_dir().join("deletion");
    let cancel = store.cancel.clone();
    let (queue, client) = DeletionQueue::new(store.storage.clone(), None, directory, cancel);
    store.cancel.cancel();
    queue.run().await;
    assert_eq!(client.flush_execute().await, Err(DeletionError));
}
