use std::time::Duration;

use pageserver_api::models::layer::LayerResidenceStatus;
use pageserver_api::{Key, Value};
use utils::Lsn;

use super::*;
use crate::context::DownloadBehavior;
use crate::tasks::TaskKind;
use crate::timeline::Timeline;
use crate::timeline::testing::{TimelineHarness, test_ctx};

const LONG: Duration = Duration::from_secs(30);

/// A timeline with one layer that is here and in remote storage.
async fn one_layer() -> (TimelineHarness, Arc<Timeline>, Layer) {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    write_layer(&timeline).await;
    timeline.remote_client.wait_completion().await.unwrap();
    let layer = timeline.layers().pop().unwrap();
    (harness, timeline, layer)
}

async fn write_layer(timeline: &Arc<Timeline>) {
    let key = Key::new(0, 1663, 5, 16384, 0, 0);
    let mut writer = timeline.writer().await;
    let value = Value::Image(vec![7; 100].into());
    writer.put_batch(vec![(key, Lsn(0x110), value)], &test_ctx()).await.unwrap();
    writer.finish_write(Lsn(0x110));
    drop(writer);
    timeline.freeze_and_flush().await.unwrap();
}

#[tokio::test]
async fn a_reader_delays_the_eviction_until_it_is_done() {
    let (_harness, _timeline, layer) = one_layer().await;
    let reader = layer.get_or_maybe_download(&test_ctx()).await.unwrap();
    let refused = layer.evict_and_wait(Duration::from_millis(50)).await;
    assert_eq!(refused, Err(EvictionError::Timeout));
    assert!(layer.local_path().exists());
    drop(reader);
    let gone = async {
        while layer.local_path().exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

#[tokio::test]
async fn a_layer_that_is_not_stored_yet_stays() {
    let mut harness = TimelineHarness::new();
    harness.store.storage = harness.store.storage.with_simulated_failures(u32::MAX);
    let timeline = harness.create_timeline();
    write_layer(&timeline).await;
    let layer = timeline.layers().pop().unwrap();
    assert!(layer.is_resident() && !layer.is_evictable());
    assert_eq!(layer.evict_and_wait(LONG).await, Err(EvictionError::NotStored));
    assert!(layer.local_path().exists());
}

#[tokio::test]
async fn a_new_reader_calls_an_eviction_off() {
    let (_harness, _timeline, layer) = one_layer().await;
    let reader = layer.get_or_maybe_download(&test_ctx()).await.unwrap();
    let evicting = layer.clone();
    let eviction = tokio::spawn(async move { evicting.evict_and_wait(LONG).await });
    while !matches!(layer.inner.lock().residency, Residency::WantedEvicted(_)) {
        tokio::task::yield_now().await;
    }
    let second = layer.get_or_maybe_download(&test_ctx()).await.unwrap();
    assert_eq!(eviction.await.unwrap(), Err(EvictionError::Downloaded));
    drop((reader, second));
    assert!(layer.is_resident() && layer.local_path().exists());
}

#[tokio::test]
async fn many_readers_of_an_evicted_layer_share_one_download() {
    let (_harness, _timeline, layer) = one_layer().await;
    layer.evict_and_wait(LONG).await.unwrap();
    let readers = (0..50).map(|_| {
        let layer = layer.clone();
        tokio::spawn(async move { layer.get_or_maybe_download(&test_ctx()).await.is_ok() })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert!(reader.await.unwrap());
    }
    let history = layer.access_stats(StatsReset::NoReset).residence_events_history;
    let statuses: Vec<_> = history.buffer.iter().map(|event| event.status).collect();
    let expected = [
        LayerResidenceStatus::Resident,
        LayerResidenceStatus::Evicted,
        LayerResidenceStatus::Resident,
    ];
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn evictions_and_reads_at_the_same_time_lose_nothing() {
    let (_harness, _timeline, layer) = one_layer().await;
    let evicting = layer.clone();
    let evictions = tokio::spawn(async move {
        for _ in 0..50 {
            // Whether it succeeds depends on the readers.
            let _ = evicting.evict_and_wait(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..200 {
        let reader = layer.get_or_maybe_download(&test_ctx()).await.unwrap();
        assert!(layer.local_path().exists());
        drop(reader);
    }
    evictions.await.unwrap();
    assert!(layer.get_or_maybe_download(&test_ctx()).await.is_ok());
}

#[tokio::test]
async fn a_context_can_forbid_downloads() {
    let (_harness, _timeline, layer) = one_layer().await;
    layer.evict_and_wait(LONG).await.unwrap();
    let ctx = RequestContext::new(TaskKind::UnitTest, DownloadBehavior::Error);
    let refused = layer.get_or_maybe_download(&ctx).await.map(|_| ());
    assert!(matches!(refused, Err(LayerAccessError::DownloadRequired(_))));
    assert!(!layer.is_resident());
}

#[tokio::test]
async fn accesses_that_do_not_count_leave_the_layer_old() {
    let (_harness, _timeline, layer) = one_layer().await;
    let before = layer.latest_activity();
    tokio::time::sleep(Duration::from_millis(5)).await;
    layer.get_or_maybe_download(&test_ctx().without_access_stats()).await.unwrap();
    assert_eq!(layer.latest_activity(), before);
    layer.get_or_maybe_download(&test_ctx()).await.unwrap();
    assert!(layer.latest_activity() > before);
}
