use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layer_format::LayerFileMetadata;
use layer_format::paths::{remote_heatmap_path, remote_layer_path};
use utils::{Generation, TenantId};

use super::heatmap::{Heatmap, HeatmapLayer, HeatmapTimeline};
use super::*;
use crate::remote::testing::TestStore;

const GENERATION: Generation = Generation::Valid(3);

/// A secondary location beside a store that stands in for the attached one.
struct Home {
    store: TestStore,
    secondary: Arc<SecondaryTenant>,
    conf: &'static PageServerConf,
    shard: TenantShardId,
}

impl Home {
    fn new() -> Home {
        let store = TestStore::new();
        let conf = PageServerConf::for_tests(&store.local_dir().join("work"));
        let shard = TenantShardId::unsharded(TenantId::generate());
        std::fs::create_dir_all(conf.timelines_path(&shard)).unwrap();
        let secondary = open(&store, conf, shard);
        Home { store, secondary, conf, shard }
    }

    /// The same location after a restart of the process.
    async fn restart(self) -> Home {
        self.secondary.shutdown().await;
        Home { secondary: open(&self.store, self.conf, self.shard), ..self }
    }

    /// Stores layers and a heatmap that names them.
    async fn publish(&self, timelines: &[(TimelineId, Vec<HeatmapLayer>)]) {
        for (timeline, layers) in timelines {
            for layer in layers {
                let tenant = &self.shard.tenant_id;
                let path = remote_layer_path(tenant, timeline, &layer.name, &layer.metadata);
                let content = vec![1; layer.metadata.file_size as usize];
                self.store.put(&path, content).await;
            }
        }
        self.publish_heatmap(timelines).await;
    }

    async fn publish_heatmap(&self, timelines: &[(TimelineId, Vec<HeatmapLayer>)]) {
        let timelines = timelines.iter().cloned();
        let heatmap = Heatmap {
            generation: GENERATION,
            timelines: timelines
                .map(|(timeline_id, layers)| HeatmapTimeline { timeline_id, layers })
                .collect(),
            upload_period_ms: Some(60_000),
        };
        let bytes = serde_json::to_vec(&heatmap).unwrap();
        // The store tells versions apart by their time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.store.put(&remote_heatmap_path(&self.shard), bytes).await;
    }

    async fn download(&self) {
        let outcome = self.secondary.download(None).await;
        assert!(matches!(outcome, WaitForDownload::Finished), "{outcome:?}");
    }

    /// Names and sizes of the layer files of a timeline.
    fn files(&self, timeline: &TimelineId) -> BTreeMap<String, u64> {
        let directory = self.conf.timeline_path(&self.shard, timeline);
        let Ok(entries) = directory.read_dir_utf8() else { return BTreeMap::new() };
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().to_owned(), entry.metadata().unwrap().len()))
            .collect()
    }
}

fn open(
    store: &TestStore,
    conf: &'static PageServerConf,
    shard: TenantShardId,
) -> Arc<SecondaryTenant> {
    let location = LocationConf {
        mode: LocationMode::Secondary { warm: true },
        shard: ShardIdentity::unsharded(),
        tenant_conf: TenantConfigOverrides::default(),
    };
    SecondaryTenant::new(conf, shard, &location, true, store.resources())
}

fn layer(number: u64, size_bytes: u64) -> HeatmapLayer {
    let name = format!(
        "000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__{:016X}-{:016X}",
        number * 16,
        (number + 1) * 16
    );
    HeatmapLayer {
        name: name.parse().unwrap(),
        metadata: LayerFileMetadata::new(
            size_bytes,
            GENERATION,
            TenantShardId::unsharded(TenantId::generate()).to_index(),
        ),
        access_time: UNIX_EPOCH,
    }
}

fn local_name(layer: &HeatmapLayer) -> String {
    layer.name.local_file_name(GENERATION)
}

#[tokio::test]
async fn a_location_without_a_heatmap_has_nothing_to_do() {
    let home = Home::new();
    home.download().await;
    assert_eq!(home.secondary.progress(), SecondaryProgress::default());
}

#[tokio::test]
async fn every_layer_of_the_heatmap_is_downloaded() {
    let (home, timeline) = (Home::new(), TimelineId::generate());
    home.publish(&[(timeline, vec![layer(1, 100), layer(2, 200)])]).await;
    home.download().await;
    let expected =
        BTreeMap::from([(local_name(&layer(1, 0)), 100), (local_name(&layer(2, 0)), 200)]);
    assert_eq!(home.files(&timeline), expected);
    let progress = home.secondary.progress();
    assert_eq!((progress.layers_downloaded, progress.layers_total), (2, 2));
    assert_eq!((progress.bytes_downloaded, progress.bytes_total), (300, 300));
    assert!(progress.heatmap_mtime.is_some());
    assert!(home.conf.heatmap_path(&home.shard).exists());
    assert_eq!(home.secondary.resident_bytes(), 300);
}

#[tokio::test]
async fn what_the_next_heatmap_does_not_name_is_removed() {
    let (home, kept, gone) = (Home::new(), TimelineId::generate(), TimelineId::generate());
    home.publish(&[(kept, vec![layer(1, 10), layer(2, 10)]), (gone, vec![layer(1, 10)])]).await;
    home.download().await;
    home.publish(&[(kept, vec![layer(2, 10), layer(3, 10)])]).await;
    home.download().await;
    let names: Vec<_> = home.files(&kept).into_keys().collect();
    assert_eq!(names, [local_name(&layer(2, 0)), local_name(&layer(3, 0))]);
    assert!(!home.conf.timeline_path(&home.shard, &gone).exists());
}

#[tokio::test]
async fn files_from_before_a_restart_are_not_downloaded_again() {
    let (home, timeline) = (Home::new(), TimelineId::generate());
    home.publish(&[(timeline, vec![layer(1, 10), layer(2, 10)])]).await;
    home.download().await;
    let home = home.restart().await;
    let path = home.conf.timeline_path(&home.shard, &timeline).join(local_name(&layer(1, 0)));
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    home.download().await;
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
    assert_eq!(home.secondary.progress().layers_downloaded, 2);
}

#[tokio::test]
async fn a_file_of_the_wrong_size_is_fetched_again() {
    let (home, timeline) = (Home::new(), TimelineId::generate());
    let directory = home.conf.timeline_path(&home.shard, &timeline);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(local_name(&layer(1, 0))), "short").unwrap();
    home.publish(&[(timeline, vec![layer(1, 100)])]).await;
    home.download().await;
    assert_eq!(home.files(&timeline), BTreeMap::from([(local_name(&layer(1, 0)), 100)]));
}

#[tokio::test]
async fn a_layer_that_was_compacted_away_does_not_count() {
    let (home, timeline) = (Home::new(), TimelineId::generate());
    home.publish(&[(timeline, vec![layer(1, 10)])]).await;
    home.publish_heatmap(&[(timeline, vec![layer(1, 10), layer(2, 10)])]).await;
    home.download().await;
    let progress = home.secondary.progress();
    assert_eq!((progress.layers_downloaded, progress.layers_total), (1, 1));
}

#[tokio::test]
async fn an_evicted_layer_comes_back_only_when_it_was_used_since() {
    let (home, timeline) = (Home::new(), TimelineId::generate());
    home.publish(&[(timeline, vec![layer(1, 10), layer(2, 10)])]).await;
    home.download().await;
    assert!(home.secondary.evict_layer(timeline, layer(1, 0).name).await);
    assert_eq!(home.files(&timeline).len(), 1);
    assert_eq!(home.secondary.layers_for_eviction().1, 1);

    home.publish(&[(timeline, vec![layer(1, 10), layer(2, 10)])]).await;
    home.download().await;
    assert_eq!(home.files(&timeline).len(), 1);
    let progress = home.secondary.progress();
    assert_eq!((progress.layers_downloaded, progress.layers_total), (1, 1));

    let used =
        HeatmapLayer { access_time: SystemTime::now() + Duration::from_secs(1), ..layer(1, 10) };
    home.publish(&[(timeline, vec![used, layer(2, 10)])]).await;
    home.download().await;
    assert_eq!(home.files(&timeline).len(), 2);
}

#[tokio::test]
async fn a_broken_heatmap_is_an_error_that_names_it() {
    let home = Home::new();
    home.store.put(&remote_heatmap_path(&home.shard), "{\"timelines\":").await;
    let outcome = home.secondary.download(None).await;
    let WaitForDownload::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.to_string().contains("heatmap-v1.json"), "{failure}");
}

#[tokio::test]
async fn a_wait_ends_with_the_location() {
    let mut home = Home::new();
    home.store.storage = home.store.storage.with_simulated_failures(u32::MAX);
    let secondary = open(&home.store, home.conf, home.shard);
    let waiting = Arc::clone(&secondary);
    let wait = tokio::spawn(async move { waiting.download(None).await });
    tokio::task::yield_now().await;
    secondary.shutdown().await;
    let outcome = wait.await.unwrap();
    assert!(matches!(outcome, WaitForDownload::Failed(_)), "{outcome:?}");
    assert!(secondary.is_shut_down());
}
