use std::fs;

use clap::Parser;
use utils::{Lsn, NodeId, TimelineId};
use wal_quorum::control_file::ServerInfo;

use super::*;
use crate::config::Options;
use crate::control_store::CONTROL_FILE_NAME;
use crate::runtimes::Roles;

struct TestNode {
    dir: tempfile::TempDir,
}

impl TestNode {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn timelines(&self) -> Arc<Timelines> {
        let workdir = Utf8PathBuf::from_path_buf(self.dir.path().to_owned()).unwrap();
        let config = Options::parse_from(["safekeeper"]).into_config(NodeId(1), workdir).unwrap();
        let roles = Roles::all_on(&tokio::runtime::Handle::current());
        Timelines::new(Node::new(config, None, reqwest::Client::new(), None, roles))
    }

    fn loaded(&self) -> Arc<Timelines> {
        let timelines = self.timelines();
        timelines.load_all().unwrap();
        timelines
    }
}

fn new_timeline() -> NewTimeline {
    NewTimeline {
        ttid: TenantTimelineId::new(TenantId::generate(), TimelineId::generate()),
        server: ServerInfo { pg_version: 150_018, system_id: 0, wal_seg_size: 16 << 20 },
        commit_lsn: Lsn::INVALID,
        local_start_lsn: Lsn::INVALID,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_timeline_is_there_after_a_restart() {
    let node = TestNode::new();
    let new = new_timeline();
    node.timelines().get_or_create(new).await.unwrap();
    assert!(node.loaded().get(new.ttid).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_at_the_same_time_give_one_timeline() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let new = new_timeline();
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let timelines = timelines.clone();
            tokio::spawn(async move { timelines.get_or_create(new).await.unwrap() })
        })
        .collect();
    let known = timelines.get_or_create(new).await.unwrap();
    for attempt in attempts {
        assert!(Arc::ptr_eq(&attempt.await.unwrap(), &known));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_creation_is_swept_away_at_start() {
    let node = TestNode::new();
    let new = new_timeline();
    let leftover = node
        .timelines()
        .tenant_dir(new.ttid.tenant_id)
        .join(format!("{}.creating", new.ttid.timeline_id));
    fs::create_dir_all(&leftover).unwrap();
    let timelines = node.loaded();
    assert!(!leftover.exists());
    timelines.get_or_create(new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_timeline_is_neither_served_nor_recreated_while_others_are() {
    let node = TestNode::new();
    let (bad, good) = (new_timeline(), new_timeline());
    let timelines = node.timelines();
    timelines.get_or_create(bad).await.unwrap();
    timelines.get_or_create(good).await.unwrap();
    let control_file = timelines.timeline_dir(bad.ttid).join(CONTROL_FILE_NAME);
    let bytes = fs::read(&control_file).unwrap();
    fs::write(&control_file, &bytes[..100]).unwrap();

    let timelines = node.loaded();
    assert!(timelines.get(good.ttid).is_ok());
    assert!(matches!(timelines.get(bad.ttid), Err(TimelineError::NotFound(_))));
    let error = timelines.get_or_create(bad).await.unwrap_err().to_string();
    assert!(error.contains("exists on disk, but wasn't loaded on startup"), "{error}");
    assert_eq!(fs::read(&control_file).unwrap(), &bytes[..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_file_in_the_wrong_directory_is_not_loaded() {
    let node = TestNode::new();
    let (one, two) = (new_timeline(), new_timeline());
    let timelines = node.timelines();
    timelines.get_or_create(one).await.unwrap();
    timelines.get_or_create(two).await.unwrap();
    let path = |new: NewTimeline| timelines.timeline_dir(new.ttid).join(CONTROL_FILE_NAME);
    fs::copy(path(one), path(two)).unwrap();
    let timelines = node.loaded();
    assert!(timelines.get(one.ttid).is_ok());
    assert!(timelines.get(two.ttid).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_timeline_is_not_brought_back() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let new = new_timeline();
    timelines.get_or_create(new).await.unwrap();
    assert!(timelines.delete(new.ttid, false).await.unwrap().dir_existed);
    assert!(!timelines.timeline_dir(new.ttid).exists());
    assert!(!timelines.delete(new.ttid, false).await.unwrap().dir_existed);
    let error = timelines.get_or_create(new).await.unwrap_err().to_string();
    assert!(error.ends_with("is deleted, refusing to recreate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_unknown_timeline_succeeds() {
    let node = TestNode::new();
    let deleted = node.timelines().delete(new_timeline().ttid, false).await.unwrap();
    assert!(!deleted.dir_existed && !deleted.was_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_tenant_spares_other_tenants() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let (doomed, spared) = (new_timeline(), new_timeline());
    timelines.get_or_create(doomed).await.unwrap();
    timelines.get_or_create(spared).await.unwrap();
    let deleted = timelines.delete_tenant(doomed.ttid.tenant_id, false).await.unwrap();
    assert!(deleted[&doomed.ttid.timeline_id].dir_existed);
    assert!(!timelines.tenant_dir(doomed.ttid.tenant_id).exists());
    assert!(timelines.get(spared.ttid).is_ok());
    assert!(timelines.delete_tenant(doomed.ttid.tenant_id, false).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_refused_with_the_reason() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let refuse = async |change: fn(&mut NewTimeline)| {
        let mut new = new_timeline();
        change(&mut new);
        let error = timelines.get_or_create(new).await.unwrap_err().to_string();
        assert!(!timelines.tenant_dir(new.ttid.tenant_id).exists());
        error
    };
    assert!(refuse(|new| new.server.wal_seg_size = 0).await.contains("wal_seg_size is zero"));
    assert!(refuse(|new| new.server.wal_seg_size = 1 << 20).await.contains("only 16777216"));
    assert!(refuse(|new| new.server.pg_version = 0).await.contains("pg_version is unknown"));
    let unsupported = refuse(|new| new.server.pg_version = 140_000).await;
    assert!(unsupported.contains("Unsupported postgres version: 14"), "{unsupported}");
    let inverted = refuse(|new| new.local_start_lsn = Lsn(8)).await;
    assert!(inverted.contains("commit_lsn 0/0 is below local_start_lsn 0/8"), "{inverted}");
}

fn saved_remote_consistent_lsn(timelines: &Timelines, ttid: TenantTimelineId) -> Lsn {
    let path = timelines.timeline_dir(ttid).join(CONTROL_FILE_NAME);
    crate::control_store::read(&path).unwrap().remote_consistent_lsn
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_saves_what_runs_ahead_of_control_files() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let mut created = Vec::new();
    for number in 1..40 {
        let timeline = timelines.get_or_create(new_timeline()).await.unwrap();
        timeline.advance_remote_consistent_lsn(Lsn(number)).await;
        created.push((timeline.ttid(), Lsn(number)));
    }
    assert_eq!(saved_remote_consistent_lsn(&timelines, created[0].0), Lsn::INVALID);
    timelines.stop().await;
    for (ttid, lsn) in created {
        assert_eq!(saved_remote_consistent_lsn(&timelines, ttid), lsn);
        assert!(timelines.get(ttid).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_saves_nothing_of_a_timeline_that_is_out_of_service() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let timeline = timelines.get_or_create(new_timeline()).await.unwrap();
    timeline.advance_remote_consistent_lsn(Lsn(5)).await;
    timeline.cancellation().cancel();
    timelines.stop().await;
    assert_eq!(saved_remote_consistent_lsn(&timelines, timeline.ttid()), Lsn::INVALID);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_does_not_bring_back_what_is_being_deleted() {
    let node = TestNode::new();
    let timelines = node.timelines();
    let timeline = timelines.get_or_create(new_timeline()).await.unwrap();
    timeline.advance_remote_consistent_lsn(Lsn(5)).await;
    let (deleted, ()) = tokio::join!(timelines.delete(timeline.ttid(), true), timelines.stop());
    assert!(deleted.unwrap().dir_existed);
    assert!(!timelines.timeline_dir(timeline.ttid()).exists());
}
