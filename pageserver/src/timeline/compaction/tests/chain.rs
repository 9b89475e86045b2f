//! How many records a read of a page may have to apply.

use pageserver_api::WalRecord;
use postgres_ffi::{BLCKSZ, CheckPoint, ForkNumber, RelTag};

use super::*;

const MAP: RelTag =
    RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::VisibilityMap };
const RECORDS_PER_LAYER: u64 = 50;

/// A relation with one block, and everything that a partitioning of keys needs.
async fn one_block(timeline: &Arc<Timeline>) {
    let store = timeline.keys(test_ctx());
    let mut modification = DatadirModification::begin(&store, timeline.pg_major, Lsn(0x100));
    modification.init_empty();
    modification.put_control_file(Bytes::from_static(b"control"));
    modification.put_checkpoint(&CheckPoint::default());
    modification.put_relmap(1663, 5, Bytes::from_static(b"map")).await.unwrap();
    modification.create_relation(MAP, 1).await.unwrap();
    modification.put_rel_page_image(MAP, 0, Bytes::from(vec![0xFF; BLCKSZ]));
    modification.commit().await.unwrap();
}

/// Changes the block again and again, and flushes.
async fn change(timeline: &Arc<Timeline>, start: Lsn) {
    let store = timeline.keys(test_ctx());
    let mut modification = DatadirModification::begin(&store, timeline.pg_major, start);
    for number in 1..=RECORDS_PER_LAYER {
        modification.set_lsn(start + 8 * number).unwrap();
        let new_heap_block = Some(number as u32);
        let record =
            WalRecord::ClearVisibilityMapFlags { new_heap_block, old_heap_block: None, flags: 3 };
        modification.put_rel_record(MAP, 0, record);
        modification.commit().await.unwrap();
    }
    timeline.freeze_and_flush().await.unwrap();
}

/// Delta layers that a read of the block at `lsn` has to look into.
fn stacked_deltas(timeline: &Timeline, lsn: Lsn) -> usize {
    let block = Key::rel_block(MAP, 0);
    let layers = timeline.layers_read();
    let covered = layers.map().image_coverage(&(block..block.next()), lsn + 1);
    let counts = covered.into_iter().map(|(keys, image)| {
        let floor = image.map_or(Lsn::INVALID, |image| image.lsn_range().start);
        layers.map().count_deltas(&keys, &(floor..lsn + 1), usize::MAX)
    });
    counts.max().unwrap_or(0)
}

#[tokio::test]
async fn image_creation_bounds_the_records_of_a_page() {
    let harness = TimelineHarness::new();
    let threshold = 3;
    harness.configure(|conf| {
        conf.compaction_threshold = 1;
        conf.image_creation_threshold = threshold;
        conf.image_layer_creation_check_threshold = 0;
    });
    let timeline = harness.create_timeline();
    one_block(&timeline).await;
    let mut images = 0;
    for round in 0..12u64 {
        change(&timeline, Lsn(0x1000 * (round + 1))).await;
        let before = stacked_deltas(&timeline, timeline.last_record_lsn());
        timeline.compact(CompactFlags::default(), &test_ctx()).await.unwrap();
        let after = stacked_deltas(&timeline, timeline.last_record_lsn());
        assert!(after < threshold, "{after} deltas are stacked after round {round}");
        images += usize::from(after < before);
    }
    assert!(images >= 3, "images were made {images} times");
    let page = timeline.get(Key::rel_block(MAP, 0), timeline.last_record_lsn(), &test_ctx()).await;
    assert_eq!(page.unwrap()[24..26], [0x03, 0x00]);
}
