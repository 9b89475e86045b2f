use pageserver_api::Key;
use pageserver_api::shard::ShardIndex;
use utils::Generation;

use super::*;

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

fn layer(lsn: u64) -> LayerUpload {
    LayerUpload {
        name: LayerName::image(Key::MIN..Key::MAX, Lsn(lsn)),
        metadata: LayerFileMetadata::new(1, Generation::Valid(1), ShardIndex::UNSHARDED),
        local_path: format!("/layers/{lsn}").into(),
    }
}

fn running() -> Running {
    let mut queue = UploadQueue::Uninitialized;
    queue.start(IndexPart::empty(metadata(8)), false);
    match queue {
        UploadQueue::Running(running) => *running,
        other => panic!("{other:?}"),
    }
}

fn take(queue: &mut Running) -> (u64, UploadOp) {
    match queue.next_ready() {
        Some(Ready::Task(id, op)) => (id, op),
        other => panic!("expected a task, found {other:?}"),
    }
}

fn take_index(queue: &mut Running) -> (u64, IndexPart) {
    match take(queue) {
        (id, UploadOp::Index(index)) => (id, *index),
        other => panic!("expected an index, found {other:?}"),
    }
}

#[test]
fn layers_run_in_parallel_and_the_index_waits_for_them() {
    let mut queue = running();
    queue.push_layer(layer(16));
    queue.push_layer(layer(24));
    queue.push_metadata(&metadata(32), None);
    let (first, _) = take(&mut queue);
    let (second, _) = take(&mut queue);
    assert!(queue.next_ready().is_none());
    queue.complete(second, None);
    assert!(queue.next_ready().is_none());
    queue.complete(first, None);
    let (_, index) = take_index(&mut queue);
    assert_eq!(index.layer_metadata.len(), 2);
}

#[test]
fn an_index_holds_the_state_of_when_it_was_scheduled() {
    let mut queue = running();
    queue.push_metadata(&metadata(16), None);
    queue.push_layer(layer(24));
    queue.push_metadata(&metadata(32), None);
    let (id, index) = take_index(&mut queue);
    assert!(index.layer_metadata.is_empty());
    assert_eq!(queue.complete(id, Some(index)), Some(Lsn(16)));
}

#[test]
fn deletions_wait_for_the_index_that_unlinks_them() {
    let mut queue = running();
    let upload = layer(16);
    queue.push_layer(upload.clone());
    let unlinked = queue.unlink(&[upload.name]);
    queue.push_index_if_changed();
    queue.push_delete(unlinked);
    let (id, _) = take(&mut queue);
    queue.complete(id, None);
    let (id, index) = take_index(&mut queue);
    assert!(queue.next_ready().is_none());
    queue.complete(id, Some(index));
    assert!(matches!(take(&mut queue), (_, UploadOp::Delete(layers)) if layers.len() == 1));
}

#[test]
fn nothing_overtakes_a_head_that_must_wait() {
    let mut queue = running();
    queue.push_layer(layer(16));
    queue.push_index();
    queue.push_layer(layer(24));
    let _running = take(&mut queue);
    assert!(queue.next_ready().is_none());
}

#[test]
fn a_layer_may_start_while_a_deletion_runs_but_a_barrier_holds_it_back() {
    let mut queue = running();
    queue.push_delete(vec![(layer(16).name, layer(16).metadata)]);
    queue.push_layer(layer(24));
    let mut waiter = queue.push_barrier();
    queue.push_layer(layer(16));
    let (delete, _) = take(&mut queue);
    let (other, _) = take(&mut queue);
    queue.complete(other, None);
    assert!(queue.next_ready().is_none());
    assert!(waiter.try_recv().is_err());
    queue.complete(delete, None);
    take(&mut queue);
    assert!(waiter.try_recv().is_ok());
}

#[test]
fn no_upload_of_an_unchanged_index_is_scheduled() {
    let mut queue = running();
    queue.push_index_if_changed();
    assert!(queue.next_ready().is_none());
    queue.push_layer(layer(16));
    queue.push_index_if_changed();
    queue.push_index_if_changed();
    let (id, _) = take(&mut queue);
    queue.complete(id, None);
    let (id, index) = take_index(&mut queue);
    queue.complete(id, Some(index));
    assert!(queue.next_ready().is_none());
}

#[test]
fn waiting_uploads_of_the_index_collapse_into_the_newest() {
    let mut queue = running();
    queue.push_layer(layer(16));
    let (upload, _) = take(&mut queue);
    queue.push_metadata(&metadata(16), None);
    queue.push_metadata(&metadata(24), None);
    queue.push_metadata(&metadata(32), None);
    assert_eq!(queue.queued_len(), 1);
    queue.complete(upload, None);
    let (id, index) = take_index(&mut queue);
    assert_eq!(queue.complete(id, Some(index)), Some(Lsn(32)));
    assert!(queue.next_ready().is_none());
}

#[test]
fn an_index_that_somebody_waits_for_is_not_replaced() {
    let mut queue = running();
    queue.push_layer(layer(16));
    let (upload, _) = take(&mut queue);
    queue.push_metadata(&metadata(16), None);
    let mut waiter = queue.push_barrier();
    queue.push_metadata(&metadata(24), None);
    queue.complete(upload, None);
    let (id, index) = take_index(&mut queue);
    assert_eq!(queue.complete(id, Some(index)), Some(Lsn(16)));
    assert!(waiter.try_recv().is_err());
    let (_, index) = take_index(&mut queue);
    assert!(waiter.try_recv().is_ok());
    assert_eq!(index.disk_consistent_lsn, Lsn(24));
}

#[test]
fn unlinking_an_unknown_layer_changes_nothing() {
    let mut queue = running();
    assert!(queue.unlink(&[layer(16).name]).is_empty());
    queue.push_index_if_changed();
    assert!(queue.next_ready().is_none());
}

#[test]
fn the_index_has_a_logical_size_only_where_it_is_known() {
    let mut queue = running();
    assert_eq!(queue.logical_size_at(Lsn(8)), None);
    queue.note_logical_size(Lsn(8), 100);
    assert_eq!(queue.logical_size_at(Lsn(8)), Some(100));
    assert_eq!(queue.logical_size_at(Lsn(16)), None);
    // The same place again: what is there has the same size.
    queue.push_metadata(&metadata(8), None);
    assert_eq!(queue.dirty.logical_size, Some(100));
    queue.push_metadata(&metadata(16), None);
    assert_eq!(queue.dirty.logical_size, None);
    queue.push_metadata(&metadata(24), Some(200));
    assert_eq!(queue.logical_size_at(Lsn(24)), Some(200));
    // Computed for a place that the timeline has left since.
    queue.note_logical_size(Lsn(16), 150);
    assert_eq!(queue.dirty.logical_size, Some(200));
}

#[test]
fn a_size_that_was_computed_is_uploaded_once() {
    let mut queue = UploadQueue::Uninitialized;
    queue.start(IndexPart::empty(metadata(8)), true);
    let queue = queue.running().unwrap();
    queue.push_index_if_size_is_new();
    assert!(queue.next_ready().is_none());
    queue.note_logical_size(Lsn(8), 100);
    assert!(queue.next_ready().is_none());
    queue.push_index_if_size_is_new();
    let (id, index) = take_index(queue);
    assert_eq!(index.logical_size, Some(100));
    queue.complete(id, Some(index));
    queue.push_index_if_size_is_new();
    assert!(queue.next_ready().is_none());
}

#[test]
fn nothing_is_uploaded_for_the_size_of_a_timeline_that_has_no_index() {
    let mut queue = running();
    queue.note_logical_size(Lsn(8), 100);
    queue.push_index_if_size_is_new();
    assert!(queue.next_ready().is_none());
}

#[test]
fn shutdown_drains_what_was_scheduled_before_and_refuses_the_rest() {
    let mut queue = UploadQueue::Uninitialized;
    queue.start(IndexPart::empty(metadata(8)), true);
    let inner = queue.running().unwrap();
    inner.push_layer(layer(16));
    inner.push_shutdown();
    assert_eq!(queue.running().unwrap_err(), QueueError::ShuttingDown);
    let inner = queue.running_or_draining().unwrap();
    let (id, _) = take(inner);
    assert!(inner.next_ready().is_none());
    inner.complete(id, None);
    assert!(matches!(inner.next_ready(), Some(Ready::Drained)));
    assert!(inner.next_ready().is_none());
}

#[test]
fn a_stopped_queue_keeps_its_index_and_drops_its_barriers() {
    let mut queue = UploadQueue::Uninitialized;
    queue.start(IndexPart::empty(metadata(8)), true);
    let mut waiter = queue.running().unwrap().push_barrier();
    drop(queue.stop());
    assert_eq!(waiter.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(queue.running().unwrap_err(), QueueError::Stopped);
    assert!(matches!(queue, UploadQueue::Stopped(Some(_))));
}

#[test]
fn a_queue_that_was_not_started_says_so() {
    let mut queue = UploadQueue::Uninitialized;
    assert_eq!(queue.running().unwrap_err().to_string(), "queue is in state Uninitialized");
}

#[test]
#[should_panic(expected = "must not go back")]
fn the_disk_consistent_lsn_never_goes_back() {
    let mut queue = running();
    queue.push_metadata(&metadata(32), None);
    queue.push_metadata(&metadata(24), None);
}
