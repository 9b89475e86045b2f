use std::collections::BTreeMap;

use bytes::Bytes;
use pageserver_api::{Key, Value};

use super::*;
use crate::timeline::testing::{TimelineHarness, test_ctx};
use crate::timeline::{CompactFlags, ShutdownMode};

const LIMITS: DetachLimits =
    DetachLimits { rewrites: NonZeroUsize::new(2).unwrap(), copies: NonZeroUsize::MIN };
const KEYS: u32 = 5;

fn key(n: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, n)
}

/// Writes to every key at each LSN; all of it goes into one layer.
async fn write_layer(timeline: &Arc<Timeline>, lsns: &[u64]) {
    for lsn in lsns {
        write(timeline, *lsn).await;
    }
    timeline.freeze_and_flush().await.unwrap();
}

async fn write(timeline: &Arc<Timeline>, lsn: u64) {
    let mut writer = timeline.writer().await;
    let id = timeline.timeline_id;
    let value = |n| Value::Image(Bytes::from(format!("{n} at {lsn:x} of {id}")));
    let batch = (0..KEYS).map(|n| (key(n), Lsn(lsn), value(n))).collect();
    writer.put_batch(batch, &test_ctx()).await.unwrap();
    writer.finish_write(Lsn(lsn));
}

async fn contents(timeline: &Timeline, lsns: &[u64]) -> BTreeMap<(u32, u64), Bytes> {
    let mut found = BTreeMap::new();
    for n in 0..KEYS {
        for lsn in lsns {
            found.insert((n, *lsn), timeline.get(key(n), Lsn(*lsn), &test_ctx()).await.unwrap());
        }
    }
    found
}

fn names(timeline: &Timeline) -> Vec<String> {
    let mut names: Vec<_> = timeline.layers().iter().map(|l| l.name().to_string()).collect();
    names.sort();
    names
}

/// Detaches, and loads the timeline anew from what is durable.
async fn detach(harness: &TimelineHarness, branch: Arc<Timeline>) -> Arc<Timeline> {
    let inherited = branch.copy_inherited_layers(LIMITS, &test_ctx()).await.unwrap();
    branch.adopt(inherited).await.unwrap();
    branch.shutdown(ShutdownMode::Hard).await;
    harness.try_load(branch.timeline_id).await.unwrap()
}

#[test]
fn a_layer_is_shared_by_where_it_ends() {
    let delta = |lsns| LayerName::delta(Key::MIN..Key::MAX, lsns);
    let image = |lsn| LayerName::image(Key::MIN..Key::MAX, lsn);
    let at = Lsn(0x118);
    assert_eq!(share(&delta(Lsn(0x100)..Lsn(0x118)), at), Share::Everything);
    assert_eq!(share(&delta(Lsn(0x100)..Lsn(0x119)), at), Share::Everything);
    assert_eq!(share(&delta(Lsn(0x100)..Lsn(0x11A)), at), Share::Prefix);
    assert_eq!(share(&delta(Lsn(0x118)..Lsn(0x200)), at), Share::Prefix);
    assert_eq!(share(&delta(Lsn(0x119)..Lsn(0x200)), at), Share::Nothing);
    assert_eq!(share(&image(Lsn(0x118)), at), Share::Everything);
    assert_eq!(share(&image(Lsn(0x119)), at), Share::Nothing);
}

#[tokio::test]
async fn a_detached_branch_reads_what_it_read_before() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100, 0x108]).await;
    write_layer(&main, &[0x110, 0x118, 0x120]).await;
    write_layer(&main, &[0x128]).await;
    let branch = harness.branch(&main, Lsn(0x118));
    write_layer(&branch, &[0x120, 0x130]).await;
    let lsns = [0x100, 0x108, 0x110, 0x117, 0x118, 0x11F, 0x120, 0x130];
    let before = contents(&branch, &lsns).await;
    let of_main = contents(&main, &lsns).await;
    let first_of_main = names(&main)[0].clone();

    let branch = detach(&harness, branch).await;
    assert!(branch.ancestor().is_none());
    assert!(branch.remote_client.was_branched_at(Lsn(0x118)));
    assert_eq!(contents(&branch, &lsns).await, before);
    assert_eq!(contents(&main, &lsns).await, of_main);
    let names = names(&branch);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&first_of_main), "{names:?}");
    let straddling = LayerName::delta(Key::MIN..Key::MAX, Lsn(0x109)..Lsn(0x119));
    assert!(names.contains(&straddling.to_string()), "{names:?}");

    // It is a timeline like any other, whose layers follow each other without a gap.
    harness.configure(|conf| conf.compaction_threshold = 3);
    branch.compact_level0(&test_ctx()).await.unwrap();
    assert!(branch.layers().iter().all(|layer| !layer.name().is_l0()));
    assert_eq!(contents(&branch, &lsns).await, before);
}

#[tokio::test]
async fn what_the_ancestor_holds_in_memory_is_detached_too() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100]).await;
    write(&main, 0x110).await;
    let branch = harness.branch(&main, Lsn(0x110));
    let before = contents(&branch, &[0x100, 0x110]).await;
    let branch = detach(&harness, branch).await;
    assert_eq!(contents(&branch, &[0x100, 0x110]).await, before);
}

#[tokio::test]
async fn images_are_copied_under_their_names() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    let store = main.keys(test_ctx());
    let mut modification =
        crate::keymap::DatadirModification::begin(&store, main.pg_major, Lsn(0x100));
    modification.init_empty();
    modification.put_control_file(Bytes::from_static(b"control"));
    modification.put_checkpoint(&postgres_ffi::CheckPoint::default());
    modification.commit().await.unwrap();
    write_layer(&main, &[0x108]).await;
    let force = CompactFlags { force_image_layer_creation: true, ..CompactFlags::default() };
    main.compact(force, &test_ctx()).await.unwrap();
    let branch = harness.branch(&main, Lsn(0x108));
    let branch = detach(&harness, branch).await;
    assert!(branch.layers().iter().any(|layer| !layer.name().is_delta()));
    assert_eq!(names(&branch), names(&main));
}

#[tokio::test]
async fn a_flush_after_the_detachment_does_not_bring_the_ancestor_back() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100]).await;
    let branch = harness.branch(&main, Lsn(0x100));
    let inherited = branch.copy_inherited_layers(LIMITS, &test_ctx()).await.unwrap();
    branch.adopt(inherited).await.unwrap();
    write_layer(&branch, &[0x110]).await;
    branch.remote_client.wait_completion().await.unwrap();
    let index = harness.index(branch.timeline_id).await;
    assert_eq!(index.metadata.disk_consistent_lsn, Lsn(0x110));
    assert_eq!(index.metadata.ancestor_timeline, None);
    assert_eq!(index.metadata.ancestor_lsn, Lsn::INVALID);
    assert_eq!(index.layer_metadata.len(), 2);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_leaves_no_local_file_and_can_be_repeated() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100, 0x110]).await;
    let branch = harness.branch(&main, Lsn(0x108));
    let before = contents(&branch, &[0x100, 0x108]).await;
    let directory = harness.directory(branch.timeline_id);
    drop(branch.copy_inherited_layers(LIMITS, &test_ctx()).await.unwrap());
    assert_eq!(directory.read_dir_utf8().unwrap().count(), 0);
    let branch = detach(&harness, branch).await;
    assert_eq!(contents(&branch, &[0x100, 0x108]).await, before);
}

#[tokio::test]
async fn a_layer_with_nothing_up_to_the_branch_point_is_left_out() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100]).await;
    write_layer(&main, &[0x120]).await;
    // The second layer begins where the first ends, below its own first value.
    let branch = harness.branch(&main, Lsn(0x110));
    let branch = detach(&harness, branch).await;
    assert_eq!(branch.layers().len(), 1);
}

#[tokio::test]
async fn only_a_branch_of_a_root_can_be_detached() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    write_layer(&main, &[0x100]).await;
    assert!(matches!(main.detachable_from(), Err(DetachError::NoAncestor)));
    let branch = harness.branch(&main, Lsn(0x100));
    let twig = harness.branch(&branch, Lsn(0x100));
    assert_eq!(branch.detachable_from().unwrap().1, Lsn(0x100));
    assert!(matches!(twig.detachable_from(), Err(DetachError::TooManyAncestors)));
}

#[tokio::test]
async fn what_a_branch_does_not_inherit_stays_with_the_ancestor() {
    let harness = TimelineHarness::new();
    let main = harness.create_timeline();
    let put = async |timeline: &Arc<Timeline>, key, lsn| {
        let mut writer = timeline.writer().await;
        let value = Value::Image(Bytes::from_static(b"slot"));
        writer.put_batch(vec![(key, Lsn(lsn), value)], &test_ctx()).await.unwrap();
        writer.finish_write(Lsn(lsn));
        drop(writer);
        timeline.freeze_and_flush().await.unwrap();
    };
    let aux = |number| Key::new(0x62, 0, 0, 0, 0, number);
    put(&main, aux(1), 0x100).await;
    put(&main, Key::AUX_FILES_V1, 0x108).await;
    let branch = harness.branch(&main, Lsn(0x108));
    put(&branch, aux(2), 0x110).await;
    let branch = detach(&harness, branch).await;
    for lsn in [0x100, 0x108, 0x110] {
        let found = branch.scan(Key::METADATA_RANGE, Lsn(lsn), &test_ctx()).await.unwrap();
        let expected = if lsn < 0x110 { vec![] } else { vec![aux(2)] };
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "{lsn:x}");
        let in_one_value = branch.get(Key::AUX_FILES_V1, Lsn(lsn), &test_ctx()).await;
        assert!(in_one_value.unwrap_err().is_missing_key());
    }
    assert!(main.get(Key::AUX_FILES_V1, Lsn(0x110), &test_ctx()).await.is_ok());
}
