use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::{Key, Value};

use super::*;
use crate::keymap::DatadirModification;
use crate::timeline::testing::{TimelineHarness, test_ctx};

fn key(n: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, n)
}

/// Writes `text` to keys 0..`keys` at each LSN, with a flush after each.
async fn fill(timeline: &Arc<Timeline>, lsns: impl Iterator<Item = u64>, keys: u32, bytes: usize) {
    for lsn in lsns {
        let mut writer = timeline.writer().await;
        let value = |n| Bytes::from(format!("{n}@{lsn:x}{}", "x".repeat(bytes)));
        let batch = (0..keys).map(|n| (key(n), Lsn(lsn), Value::Image(value(n)))).collect();
        writer.put_batch(batch, &test_ctx()).await.unwrap();
        writer.finish_write(Lsn(lsn));
        drop(writer);
        timeline.freeze_and_flush().await.unwrap();
    }
}

async fn contents(timeline: &Timeline, keys: u32, lsns: &[u64]) -> BTreeMap<(u32, u64), Bytes> {
    let mut found = BTreeMap::new();
    for n in 0..keys {
        for lsn in lsns {
            found.insert((n, *lsn), timeline.get(key(n), Lsn(*lsn), &test_ctx()).await.unwrap());
        }
    }
    found
}

const LSNS: [u64; 5] = [0x100, 0x108, 0x110, 0x118, 0x120];

#[tokio::test]
async fn too_few_l0_layers_are_left_alone() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    fill(&timeline, LSNS.into_iter(), 3, 10).await;
    timeline.compact_level0(&test_ctx()).await.unwrap();
    assert_eq!(timeline.layers().iter().filter(|layer| layer.name().is_l0()).count(), 5);
}

#[tokio::test]
async fn l0_layers_become_key_ranges_and_every_version_stays() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.compaction_threshold = 3);
    let timeline = harness.create_timeline();
    fill(&timeline, LSNS.into_iter(), 20, 100).await;
    let before = contents(&timeline, 20, &LSNS).await;
    harness.configure(|conf| conf.checkpoint_distance = 12_000);
    timeline.compact_level0(&test_ctx()).await.unwrap();
    let layers = timeline.layers();
    assert!(
        layers.len() > 1 && layers.iter().all(|layer| !layer.name().is_l0()),
        "{}",
        layers.len()
    );
    assert_eq!(contents(&timeline, 20, &LSNS).await, before);
    drop(layers);

    timeline.remote_client.wait_completion().await.unwrap();
    let timeline = harness.restart(timeline).await;
    assert_eq!(contents(&timeline, 20, &LSNS).await, before);
    let index = harness.index(timeline.timeline_id).await;
    assert_eq!(index.layer_metadata.len(), timeline.layers().len());
}

#[tokio::test]
async fn the_versions_of_one_large_key_are_cut_along_lsns() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.compaction_threshold = 3);
    let timeline = harness.create_timeline();
    fill(&timeline, LSNS.into_iter(), 2, 1000).await;
    let before = contents(&timeline, 2, &LSNS).await;
    harness.configure(|conf| conf.checkpoint_distance = 2500);
    timeline.compact_level0(&test_ctx()).await.unwrap();
    let mut names: Vec<_> = timeline.layers().iter().map(|l| l.name().clone()).collect();
    names.sort();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names.iter().all(|name| name.key_range().end == name.key_range().start.next()));
    assert_eq!(contents(&timeline, 2, &LSNS).await, before);
}

#[tokio::test]
async fn compacted_layers_are_deleted_once_nobody_reads_them() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.compaction_threshold = 2);
    let timeline = harness.create_timeline();
    fill(&timeline, [0x100, 0x108].into_iter(), 3, 10).await;
    let old: Vec<_> = timeline.layers().iter().map(|l| l.local_path().to_owned()).collect();
    let held = timeline.layers();
    timeline.compact_level0(&test_ctx()).await.unwrap();
    assert!(old.iter().all(|path| path.exists()));
    drop(held);
    for _ in 0..1000 {
        if old.iter().all(|path| !path.exists()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the compacted layers were not removed");
}

#[tokio::test]
async fn an_image_that_is_not_published_leaves_no_file_and_can_be_made_again() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    fill(&timeline, std::iter::once(0x100), 3, 10).await;
    let part = KeySpace::single(key(0)..key(3));
    let directory = harness.directory(timeline.timeline_id);
    for _ in 0..2 {
        let range = key(0)..key(3);
        let image = timeline.create_dense_image(range, &part, Lsn(0x100), &test_ctx()).await;
        assert_eq!(directory.read_dir_utf8().unwrap().count(), 2);
        drop(image.unwrap().unwrap());
        assert_eq!(directory.read_dir_utf8().unwrap().count(), 1);
    }
}

#[tokio::test]
async fn forced_images_hold_every_key_and_leave_no_gap() {
    let harness = TimelineHarness::new();
    let timeline = harness.create_timeline();
    let lsn = Lsn(0x100);
    let store = timeline.keys(test_ctx());
    let mut modification = DatadirModification::begin(&store, timeline.pg_major, lsn);
    modification.init_empty();
    modification.put_control_file(Bytes::from_static(b"control"));
    modification.put_checkpoint(&postgres_ffi::CheckPoint::default());
    modification.commit().await.unwrap();
    timeline.writer().await.finish_write(lsn);
    timeline.freeze_and_flush().await.unwrap();
    let flags = CompactFlags { force_image_layer_creation: true, ..CompactFlags::default() };
    timeline.compact(flags, &test_ctx()).await.unwrap();
    let images: Vec<_> =
        timeline.layers().into_iter().filter(|layer| !layer.name().is_delta()).collect();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].name().key_range().start, Key::MIN);
    let value = timeline.get(Key::CONTROL_FILE, lsn, &test_ctx()).await.unwrap();
    assert_eq!(value, "control");
    // Again at the same LSN there is nothing to do.
    timeline.compact(flags, &test_ctx()).await.unwrap();
    assert_eq!(timeline.layers().len(), 2);
}

#[tokio::test]
async fn images_are_due_where_enough_deltas_are_stacked() {
    let harness = TimelineHarness::new();
    harness.configure(|conf| {
        conf.compaction_threshold = 1;
        conf.image_creation_threshold = 3;
    });
    let timeline = harness.create_timeline();
    let part = KeySpace::single(key(0)..key(3));
    for (number, lsn) in LSNS.into_iter().enumerate() {
        fill(&timeline, std::iter::once(lsn), 3, 10).await;
        timeline.compact_level0(&test_ctx()).await.unwrap();
        assert_eq!(timeline.needs_image(&part, Lsn(lsn)), number >= 2);
    }
    let lsn = Lsn(0x120);
    let range = key(0)..key(3);
    let image = timeline.create_dense_image(range, &part, lsn, &test_ctx()).await.unwrap();
    timeline.publish_compacted(&[], vec![image.unwrap()]).unwrap();
    assert!(!timeline.needs_image(&part, lsn));
    assert_eq!(contents(&timeline, 3, &LSNS).await.len(), 15);
}
