use layer_format::paths::remote_index_path;
use pageserver_api::Key;
use utils::TenantId;

use super::*;
use crate::remote::testing::TestStore;

const GENERATION: Generation = Generation::Valid(3);

struct Fixture {
    store: TestStore,
    client: RemoteTimelineClient,
    shard: TenantShardId,
    timeline: TimelineId,
}

fn metadata(lsn: u64) -> TimelineMetadata {
    TimelineMetadata {
        disk_consistent_lsn: Lsn(lsn),
        prev_record_lsn: None,
        ancestor_timeline: None,
        ancestor_lsn: Lsn(0),
        latest_gc_cutoff_lsn: Lsn(8),
        initdb_lsn: Lsn(8),
        pg_version: 15,
    }
}

fn name(lsn: u64) -> LayerName {
    LayerName::image(Key::MIN..Key::MAX, Lsn(lsn))
}

impl Fixture {
    /// A new timeline in a store whose operations fail `failures` times each.
    fn new(failures: u32) -> Fixture {
        let mut store = TestStore::new();
        if failures > 0 {
            store.storage = store.storage.with_simulated_failures(failures);
        }
        let shard = TenantShardId::unsharded(TenantId::generate());
        let timeline = TimelineId::generate();
        let client = RemoteTimelineClient::new(store.resources(), shard, timeline, GENERATION);
        client.init_for_new_timeline(&metadata(8));
        Fixture { store, client, shard, timeline }
    }

    /// Makes a layer file and schedules its upload.
    fn add_layer(&self, lsn: u64, size: usize) -> LayerName {
        let name = name(lsn);
        let path = self.store.local_dir().join(name.local_file_name(GENERATION));
        std::fs::write(&path, vec![1; size]).unwrap();
        let metadata = LayerFileMetadata::new(size as u64, GENERATION, self.shard.to_index());
        self.client.schedule_layer_file_upload(name.clone(), metadata, path).unwrap();
        name
    }

    async fn remote_index(&self) -> Option<IndexPart> {
        let path = remote_index_path(&self.shard, &self.timeline, GENERATION);
        let bytes = self.store.get(&path).await?;
        Some(IndexPart::from_json(&bytes).unwrap())
    }

    async fn has_layer(&self, name: &LayerName) -> bool {
        let object = name.remote_object_name(GENERATION);
        self.store.keys().await.iter().any(|key| key.ends_with(&object))
    }
}

#[tokio::test]
async fn completion_means_that_the_index_and_its_layers_are_stored() {
    let fixture = Fixture::new(0);
    let layer = fixture.add_layer(16, 100);
    fixture.client.schedule_index_upload_for_full_metadata_update(&metadata(16)).unwrap();
    fixture.client.wait_completion().await.unwrap();
    let index = fixture.remote_index().await.unwrap();
    assert_eq!(index.layer_metadata[&layer].file_size, 100);
    assert!(fixture.has_layer(&layer).await);
    assert_eq!(fixture.client.remote_consistent_lsn_projected(), Some(Lsn(16)));
    assert_eq!(fixture.client.remote_consistent_lsn_visible(), Lsn(16));
    assert_eq!(fixture.client.remote_physical_size(), 100);
}

#[tokio::test]
async fn nothing_is_consistent_before_the_first_index() {
    let fixture = Fixture::new(0);
    assert_eq!(fixture.client.remote_consistent_lsn_projected(), None);
    assert_eq!(fixture.client.remote_consistent_lsn_visible(), Lsn::INVALID);
}

#[tokio::test]
async fn a_failing_store_delays_but_does_not_reorder() {
    let fixture = Fixture::new(2);
    let layer = fixture.add_layer(16, 10);
    fixture.client.schedule_index_upload_for_full_metadata_update(&metadata(16)).unwrap();
    fixture.client.schedule_unlink_and_delete(std::slice::from_ref(&layer)).unwrap();
    fixture.client.wait_completion().await.unwrap();
    fixture.client.inner.resources.deletion_queue.flush_execute().await.unwrap();
    fixture.store.cancel.cancel();
    let plain = std::fs::read_dir(fixture.store.local_dir().join("remote/tenants")).unwrap();
    assert_eq!(plain.count(), 1);
    let index = fixture.client.inner.lock().clean().cloned().unwrap();
    assert!(index.layer_metadata.is_empty());
}

#[tokio::test]
async fn unlinked_layers_are_deleted_after_the_index_forgot_them() {
    let fixture = Fixture::new(0);
    let (kept, removed) = (fixture.add_layer(16, 10), fixture.add_layer(24, 10));
    fixture.client.schedule_index_upload_for_file_changes().unwrap();
    fixture.client.schedule_unlink_and_delete(std::slice::from_ref(&removed)).unwrap();
    fixture.client.wait_completion().await.unwrap();
    fixture.client.inner.resources.deletion_queue.flush_execute().await.unwrap();
    let index = fixture.remote_index().await.unwrap();
    assert!(index.layer_metadata.contains_key(&kept));
    assert!(!index.layer_metadata.contains_key(&removed));
    assert!(fixture.has_layer(&kept).await && !fixture.has_layer(&removed).await);
}

#[tokio::test]
async fn objects_of_an_ancestor_shard_are_only_unlinked() {
    let fixture = Fixture::new(0);
    let foreign = LayerFileMetadata::new(
        10,
        GENERATION,
        pageserver_api::shard::ShardIndex::new(
            pageserver_api::shard::ShardNumber(0),
            pageserver_api::shard::ShardCount(2),
        ),
    );
    let layers = vec![(name(16), foreign)];
    assert!(fixture.client.inner.deletable(layers).is_empty());
}

#[tokio::test]
async fn a_file_that_is_gone_and_unlinked_is_not_waited_for() {
    let fixture = Fixture::new(0);
    let layer = name(16);
    let metadata = LayerFileMetadata::new(10, GENERATION, fixture.shard.to_index());
    let path = fixture.store.local_dir().join("absent");
    fixture.client.schedule_layer_file_upload(layer.clone(), metadata, path).unwrap();
    fixture.client.schedule_gc_update(&[layer]).unwrap();
    fixture.client.wait_completion().await.unwrap();
}

#[tokio::test]
async fn shutdown_finishes_what_was_scheduled() {
    let fixture = Fixture::new(1);
    let layer = fixture.add_layer(16, 10);
    fixture.client.schedule_index_upload_for_full_metadata_update(&metadata(16)).unwrap();
    fixture.client.shutdown().await;
    let index = fixture.client.inner.lock().clean().cloned().unwrap();
    assert!(index.layer_metadata.contains_key(&layer));
    let refused = fixture.client.schedule_index_upload_for_file_changes();
    assert_eq!(refused, Err(QueueError::ShuttingDown));
}

#[tokio::test]
async fn stopping_aborts_waiters_and_tasks() {
    let fixture = Fixture::new(u32::MAX);
    fixture.add_layer(16, 10);
    let client = fixture.client.clone();
    let waiter = tokio::spawn(async move { client.wait_completion().await });
    tokio::task::yield_now().await;
    fixture.client.stop();
    fixture.client.wait_stopped().await;
    let outcome = waiter.await.unwrap().unwrap_err();
    assert!(
        matches!(
            outcome,
            WaitCompletionError::Stopped | WaitCompletionError::Queue(QueueError::Stopped)
        ),
        "{outcome}"
    );
}

#[tokio::test]
async fn a_shutdown_that_cannot_finish_ends_when_the_queue_is_stopped() {
    let fixture = Fixture::new(u32::MAX);
    fixture.add_layer(16, 10);
    let client = fixture.client.clone();
    let waiter = tokio::spawn(async move { client.shutdown().await });
    tokio::task::yield_now().await;
    fixture.client.stop();
    waiter.await.unwrap();
}

#[tokio::test]
async fn a_deleted_timeline_leaves_nothing_behind() {
    let fixture = Fixture::new(0);
    fixture.add_layer(16, 10);
    fixture.client.schedule_index_upload_for_full_metadata_update(&metadata(16)).unwrap();
    fixture.client.wait_completion().await.unwrap();
    let prefix = format!("tenants/{}/timelines/{}", fixture.shard, fixture.timeline);
    fixture.store.put(&format!("{prefix}/orphan-00000001"), "x").await;
    fixture.store.put(&format!("{prefix}/initdb.tar.zst"), "x").await;
    fixture.store.put(&format!("{prefix}/initdb-preserved.tar.zst"), "x").await;
    fixture.client.stop();
    fixture.client.mark_deleted(&fixture.store.cancel).await.unwrap();
    assert!(fixture.remote_index().await.unwrap().deleted_at.is_some());
    fixture.client.delete_all(&fixture.store.cancel).await.unwrap();
    assert_eq!(fixture.store.keys().await, [format!("{prefix}/initdb-preserved.tar.zst")]);
}

#[tokio::test]
async fn a_deletion_that_cannot_finish_ends_when_it_is_cancelled() {
    let fixture = Fixture::new(u32::MAX);
    let mut index = IndexPart::empty(metadata(16));
    index.deleted_at = Some(chrono::Utc::now().naive_utc());
    fixture.client.init_to_continue_deletion(&index);
    let cancel = CancellationToken::new();
    let (client, token) = (fixture.client.clone(), cancel.clone());
    let deletion = tokio::spawn(async move { client.delete_all(&token).await });
    tokio::task::yield_now().await;
    cancel.cancel();
    assert!(deletion.await.unwrap().is_err());
}

#[tokio::test]
async fn an_unmarked_timeline_is_not_deleted() {
    let fixture = Fixture::new(0);
    let cancel = &fixture.store.cancel;
    let running = fixture.client.delete_all(cancel).await;
    assert!(matches!(running, Err(DeleteTimelineError::NotStopped)));
    fixture.client.stop();
    let unmarked = fixture.client.delete_all(cancel).await;
    assert!(matches!(unmarked, Err(DeleteTimelineError::NotMarked)));
}

#[tokio::test]
async fn a_downloaded_layer_appears_only_when_it_is_whole() {
    let fixture = Fixture::new(0);
    let layer = fixture.add_layer(16, 100);
    fixture.client.wait_completion().await.unwrap();
    let local = fixture.store.local_dir().join("downloaded");
    let mut layer_metadata = LayerFileMetadata::new(100, GENERATION, fixture.shard.to_index());
    let cancel = &fixture.store.cancel;
    let client = &fixture.client;
    let size = client.download_layer_file(&layer, &layer_metadata, &local, cancel).await.unwrap();
    assert_eq!((size, std::fs::read(&local).unwrap().len()), (100, 100));

    std::fs::remove_file(&local).unwrap();
    layer_metadata.file_size = 101;
    let error = client.download_layer_file(&layer, &layer_metadata, &local, cancel).await;
    assert!(error.unwrap_err().to_string().contains("size mismatch"));
    assert!(!local.exists());
}
