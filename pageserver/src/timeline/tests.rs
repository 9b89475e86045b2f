use std::time::Duration;

use bytes::Bytes;
use pageserver_api::keyspace::KeySpace;
use pageserver_api::{Key, Value};

use super::testing::{INITDB_LSN, TimelineHarness, test_ctx};
use super::*;

mod model;

fn key(n: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, n)
}

fn aux_key(n: u32) -> Key {
    Key::new(0x62, 0, 0, 0, 0, n)
}

fn image(text: &str) -> Value {
    Value::Image(Bytes::copy_from_slice(text.as_bytes()))
}

/// Writes one image and makes it visible.
async fn put(timeline: &Arc<Timeline>, at: Key, lsn: u64, text: &str) {
    let mut writer = timeline.writer().await;
    writer.put_batch(vec![(at, Lsn(lsn), image(text))], &test_ctx()).await.unwrap();
    writer.finish_write(Lsn(lsn));
}

async fn get(timeline: &Timeline, at: Key, lsn: u64) -> String {
    let value = timeline.get(at, Lsn(lsn), &test_ctx()).await.unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

async fn get_error(timeline: &Timeline, at: Key, lsn: u64) -> PageReconstructError {
    timeline.get(at, Lsn(lsn), &test_ctx()).await.unwrap_err()
}

#[tokio::test]
async fn every_version_stays_readable_through_a_flush() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    put(&timeline, key(1), 0x110, "two").await;
    for _ in 0..2 {
        assert_eq!(get(&timeline, key(1), 0x100).await, "one");
        assert_eq!(get(&timeline, key(1), 0x10F).await, "one");
        assert_eq!(get(&timeline, key(1), 0x110).await, "two");
        timeline.freeze_and_flush().await.unwrap();
    }
    assert_eq!(timeline.disk_consistent_lsn(), Lsn(0x110));
    assert_eq!(timeline.layers().len(), 1);
    put(&timeline, key(1), 0x120, "three").await;
    assert_eq!(get(&timeline, key(1), 0x118).await, "two");
    assert_eq!(get(&timeline, key(1), 0x120).await, "three");
}

#[tokio::test]
async fn the_index_has_the_logical_size_of_where_the_layers_end() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.logical_size().add_blocks(3);
    timeline.freeze_and_flush().await.unwrap();
    put(&timeline, key(1), 0x110, "two").await;
    timeline.logical_size().add_blocks(2);
    timeline.remote_client.wait_completion().await.unwrap();
    assert_eq!(harness.index(timeline.timeline_id).await.logical_size, Some(3 * 8192));
    // What is only in memory is read again, and counted again.
    let timeline = harness.restart(timeline).await;
    assert_eq!(timeline.remote_client.logical_size_at(Lsn(0x100)), Some(3 * 8192));

    // One that does not know it says nothing.
    put(&timeline, key(1), 0x118, "three").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let index = harness.index(timeline.timeline_id).await;
    assert_eq!((index.disk_consistent_lsn, index.logical_size), (Lsn(0x118), None));
}

#[tokio::test]
async fn a_missing_key_is_an_error_that_names_it() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    let error = get_error(&timeline, key(2), 0x100).await;
    assert!(error.is_missing_key());
    let expected = format!("could not find data for key {} (shard 0) at LSN 0/101", key(2));
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(matches!(get_error(&timeline, key(1), 0).await, PageReconstructError::InvalidLsn));
}

#[tokio::test]
async fn many_keys_are_read_in_one_pass() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    for n in 0..10 {
        put(&timeline, key(n), 0x100 + u64::from(n) * 8, &n.to_string()).await;
        if n % 3 == 0 {
            timeline.freeze_and_flush().await.unwrap();
        }
    }
    let keys = KeySpace::single(key(0)..key(10));
    let values = timeline.get_vectored(keys, Lsn(0x200), &test_ctx()).await.unwrap();
    assert_eq!(values.len(), 10);
    for (n, value) in values.into_values().enumerate() {
        assert_eq!(value.unwrap(), n.to_string());
    }
    let many = KeySpace::single(key(0)..key(33));
    let error = timeline.get_vectored(many, Lsn(0x200), &test_ctx()).await.unwrap_err();
    assert!(matches!(error, GetVectoredError::Oversized { wanted: 33, max: 32 }));
}

#[tokio::test]
async fn the_previous_record_is_the_one_finished_before() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    put(&timeline, key(1), 0x110, "two").await;
    let expected = RecordLsn { last: Lsn(0x110), prev: Lsn(0x100) };
    assert_eq!(timeline.last_record_rlsn(), expected);
    timeline.writer().await.finish_write(Lsn(0x110));
    assert_eq!(timeline.last_record_rlsn(), expected);
}

#[tokio::test]
async fn a_branch_reads_its_ancestor_up_to_the_branch_point() {
    let harness = TimelineHarness::new();
    let parent = harness.create_timeline();
    put(&parent, key(1), 0x100, "old").await;
    put(&parent, key(2), 0x108, "shared").await;
    put(&parent, aux_key(1), 0x108, "slot").await;
    let branch = harness.branch(&parent, Lsn(0x108));
    put(&parent, key(1), 0x110, "parent only").await;
    put(&branch, key(1), 0x110, "branch only").await;
    parent.freeze_and_flush().await.unwrap();
    branch.freeze_and_flush().await.unwrap();
    assert_eq!(get(&branch, key(1), 0x108).await, "old");
    assert_eq!(get(&branch, key(1), 0x110).await, "branch only");
    assert_eq!(get(&branch, key(2), 0x110).await, "shared");
    assert_eq!(get(&parent, key(1), 0x110).await, "parent only");
    let inherited = timeline_scan(&branch, 0x110).await;
    assert!(inherited.is_empty(), "sparse metadata is not inherited: {inherited:?}");
    assert_eq!(timeline_scan(&parent, 0x110).await, [(aux_key(1), "slot".to_owned())]);
}

async fn timeline_scan(timeline: &Timeline, lsn: u64) -> Vec<(Key, String)> {
    let range = Key::AUX_FILES_V2_RANGE;
    let found = timeline.scan(range, Lsn(lsn), &test_ctx()).await.unwrap();
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    found.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[tokio::test]
async fn ordinary_keys_cannot_be_scanned() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    let error = timeline.scan(key(0)..key(9), Lsn(0x100), &test_ctx()).await.unwrap_err();
    assert!(matches!(error, GetVectoredError::NotScannable { .. }));
}

#[tokio::test]
async fn what_was_uploaded_survives_a_crash_and_the_rest_does_not() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    put(&timeline, key(2), 0x108, "two").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    put(&timeline, key(1), 0x110, "lost").await;
    let timeline = harness.restart(timeline).await;
    assert_eq!(timeline.last_record_rlsn(), RecordLsn { last: Lsn(0x108), prev: Lsn(0x100) });
    assert_eq!(get(&timeline, key(1), 0x200).await, "one");
    assert!(timeline.layers().iter().all(|layer| layer.is_resident()));
    put(&timeline, key(1), 0x110, "again").await;
    assert_eq!(get(&timeline, key(1), 0x110).await, "again");
}

#[tokio::test]
async fn a_lost_local_file_is_downloaded_again() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let path = timeline.layers()[0].local_path().to_owned();
    timeline.shutdown(ShutdownMode::FreezeAndFlush).await;
    std::fs::remove_file(&path).unwrap();
    let timeline = harness.restart(timeline).await;
    assert!(!timeline.layers()[0].is_resident());
    assert_eq!(timeline.resident_physical_size(), 0);
    assert_eq!(get(&timeline, key(1), 0x100).await, "one");
    assert!(timeline.layers()[0].is_resident() && path.exists());
}

#[tokio::test]
async fn a_file_of_unexpected_length_is_removed_on_load() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let path = timeline.layers()[0].local_path().to_owned();
    std::fs::write(&path, "short").unwrap();
    let timeline = harness.restart(timeline).await;
    assert!(!path.exists());
    assert_eq!(get(&timeline, key(1), 0x100).await, "one");
}

#[tokio::test]
async fn leftovers_are_removed_and_strangers_refused_on_load() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let directory = harness.directory(timeline.timeline_id);
    for name in ["ephemeral-7", "x.___temp", "y.temp_download", "z.old"] {
        std::fs::write(directory.join(name), "").unwrap();
    }
    let local_only = LayerName::image(Key::MIN..Key::MAX, Lsn(0x100));
    let local_only = directory.join(local_only.local_file_name(testing::GENERATION));
    std::fs::write(&local_only, "").unwrap();
    let timeline = harness.restart(timeline).await;
    assert_eq!(directory.read_dir_utf8().unwrap().count(), 1);

    timeline.shutdown(ShutdownMode::Hard).await;
    std::fs::write(directory.join("stranger"), "").unwrap();
    let error = harness.try_load(timeline.timeline_id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unrecognized files in timeline dir (total 1), first 10: [\"stranger\"]"
    );
}

#[tokio::test]
async fn a_zeroed_layer_fails_reads_permanently_and_says_so() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let layer = timeline.layers()[0].clone();
    let size = layer.metadata().file_size as usize;
    std::fs::write(layer.local_path(), vec![0; size]).unwrap();
    let timeline = harness.restart(timeline).await;
    let error = get_error(&timeline, key(1), 0x100).await.to_string();
    assert!(error.contains(&format!("get_values_reconstruct_data for layer {}", layer.name())));
    assert!(error.contains("layer loading failed permanently: load layer: "), "{error}");
}

#[tokio::test]
async fn an_evicted_layer_comes_back_when_it_is_read() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.remote_client.wait_completion().await.unwrap();
    let layer = timeline.layers()[0].clone();
    assert_eq!(get(&timeline, key(1), 0x100).await, "one");
    layer.evict_and_wait(Duration::from_secs(10)).await.unwrap();
    assert!(!layer.is_resident() && !layer.local_path().exists());
    let again = layer.evict_and_wait(Duration::from_secs(10)).await;
    assert_eq!(again, Err(crate::layers::layer::EvictionError::NotFound));
    assert_eq!(get(&timeline, key(1), 0x100).await, "one");
    assert!(layer.is_resident());
}

#[tokio::test]
async fn the_open_layer_rolls_when_it_is_large() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.checkpoint_distance = 1000);
    let timeline = harness.create_timeline();
    let text = "x".repeat(300);
    for n in 0..8u64 {
        put(&timeline, key(1), 0x100 + 8 * n, &text).await;
    }
    timeline.freeze_and_flush().await.unwrap();
    let mut lsns: Vec<_> = timeline.layers().iter().map(|l| l.name().lsn_range()).collect();
    lsns.sort_by_key(|lsns| lsns.start);
    assert!(lsns.len() >= 2, "{lsns:?}");
    assert!(lsns.windows(2).all(|pair| pair[0].end == pair[1].start), "{lsns:?}");
}

#[tokio::test]
async fn writes_of_one_lsn_are_never_split() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.checkpoint_distance = 100);
    let timeline = harness.create_timeline();
    let mut writer = timeline.writer().await;
    for n in 0..5 {
        let batch = vec![(key(n), INITDB_LSN, image(&"x".repeat(200)))];
        writer.put_batch(batch, &test_ctx()).await.unwrap();
    }
    drop(writer);
    assert_eq!(timeline.in_memory_layers().len(), 1);
}

#[tokio::test]
async fn wal_without_data_still_moves_the_consistent_lsn() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.freeze_and_flush().await.unwrap();
    timeline.writer().await.finish_write(Lsn(0x200));
    timeline.freeze_and_flush().await.unwrap();
    assert_eq!(timeline.disk_consistent_lsn(), Lsn(0x200));
    timeline.remote_client.wait_completion().await.unwrap();
    assert_eq!(timeline.remote_consistent_lsn_visible(), Lsn(0x200));
    assert_eq!(timeline.layers().len(), 1);
    put(&timeline, key(1), 0x208, "two").await;
    timeline.freeze_and_flush().await.unwrap();
    assert_eq!(get(&timeline, key(1), 0x208).await, "two");
}

#[tokio::test]
async fn housekeeping_rolls_an_idle_layer_after_the_timeout() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.checkpoint_timeout = Duration::ZERO);
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.ingest_housekeeping();
    for _ in 0..1000 {
        if timeline.disk_consistent_lsn() == Lsn(0x100) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the idle layer was not flushed");
}

#[tokio::test]
async fn waiting_for_an_lsn_ends_when_it_arrives() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    let waiter = {
        let timeline = Arc::clone(&timeline);
        tokio::spawn(async move { timeline.wait_lsn(Lsn(0x110), &test_ctx()).await })
    };
    put(&timeline, key(1), 0x110, "two").await;
    waiter.await.unwrap().unwrap();
    let timeout = Duration::from_millis(1);
    let error = timeline.wait_lsn_timeout(Lsn(0x120), timeout).await.unwrap_err();
    assert!(error.to_string().starts_with(
        "Timed out while waiting for WAL record at LSN 0/120 to arrive, last_record_lsn 0/110"
    ));
}

#[tokio::test]
async fn a_flush_after_shutdown_is_refused() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    put(&timeline, key(1), 0x100, "one").await;
    timeline.shutdown(ShutdownMode::FreezeAndFlush).await;
    let error = timeline.freeze_and_flush().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot flush frozen layers when flush_loop is not running, state is Exited"
    );
    assert_eq!(harness.index(timeline.timeline_id).await.disk_consistent_lsn, Lsn(0x100));
}

#[tokio::test]
async fn reads_below_the_cutoff_are_refused() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    timeline.check_lsn_is_in_scope(INITDB_LSN).unwrap();
    let error = timeline.check_lsn_is_in_scope(Lsn(0xF8)).unwrap_err();
    assert!(error.to_string().starts_with("LSN 0/F8 is earlier than latest GC horizon 0/100"));
}
