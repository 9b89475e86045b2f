//! Timelines on their way: pulled, copied, compared, dumped and patched.

mod common;

use common::crafted::{START, SYSTEM_ID, wal};
use common::proposer::{MiniProposer, SEGMENT_SIZE};
use common::{TestSafekeeper, eventually, new_ttid, read_wal, start_broker};
use safekeeper_api::models::{
    ControlFilePatch, PullTimelineRequest, SafekeeperTimelineInfo, TimelineCopyRequest,
};
use utils::{Lsn, TenantTimelineId, TimelineId};

const LONG: usize = 2 * SEGMENT_SIZE as usize + 100_000;

fn pull_request(ttid: TenantTimelineId, donors: &[&TestSafekeeper]) -> PullTimelineRequest {
    PullTimelineRequest {
        tenant_id: ttid.tenant_id,
        timeline_id: ttid.timeline_id,
        http_hosts: donors.iter().map(|donor| format!("http://{}", donor.http)).collect(),
    }
}

async fn digest(safekeeper: &TestSafekeeper, ttid: TenantTimelineId, end: Lsn) -> String {
    let client = safekeeper.http_client();
    client.digest(ttid.tenant_id, ttid.timeline_id, START, end).await.unwrap().sha256
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_pulled_from_the_most_advanced_safekeeper() {
    let (donor, behind) =
        (TestSafekeeper::start(), TestSafekeeper::start_with(2, "http://127.0.0.1:1", &[]));
    let target = TestSafekeeper::start_with(3, "http://127.0.0.1:1", &[]);
    let ttid = new_ttid();
    let bytes = wal(START, LONG, b'a');
    let mut ahead = MiniProposer::lead_from(&donor, ttid, SYSTEM_ID, START).await;
    let mut late = MiniProposer::lead_from(&behind, ttid, SYSTEM_ID, START).await;
    let end = ahead.push(START, &bytes).await;
    late.push(START, &wal(START, 100_000, b'a')).await;
    let request = pull_request(ttid, &[&behind, &donor]);
    let answer = target.http_client().pull_timeline(&request).await.unwrap();
    assert_eq!(answer.safekeeper_host, format!("http://{}", donor.http));
    let status = target.status(ttid).await;
    assert_eq!((status.flush_lsn, status.acceptor_state.term), (end, 1));
    assert_eq!(target.segments(ttid), donor.segments(ttid));
    assert_eq!(digest(&target, ttid, end).await, digest(&donor, ttid, end).await);
    // The same leader goes on with the new member.
    let (mut leader, _) = MiniProposer::connect(&target, ttid, SYSTEM_ID).await;
    assert_eq!(leader.vote(1).await.flush_lsn, end);
    leader.announce([(1, START)].into(), end, START).await;
    let next = wal(end, 50_000, b'b');
    let new_end = leader.push(end, &next).await;
    assert!(read_wal(&target, ttid, end, new_end).await == next);
    let again = target.http_client().pull_timeline(&request).await.unwrap_err().to_string();
    assert!(again.contains("exists here already"), "{again}");
    for safekeeper in [donor, behind, target] {
        safekeeper.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_timeline_can_be_pulled_again() {
    let (donor, target) =
        (TestSafekeeper::start(), TestSafekeeper::start_with(2, "http://127.0.0.1:1", &[]));
    let ttid = new_ttid();
    let mut leader = MiniProposer::lead_from(&donor, ttid, SYSTEM_ID, START).await;
    let end = leader.push(START, &wal(START, 50_000, b'a')).await;
    let request = pull_request(ttid, &[&donor]);
    let client = target.http_client();
    client.pull_timeline(&request).await.unwrap();
    client.delete_timeline(ttid.tenant_id, ttid.timeline_id, true).await.unwrap();
    client.pull_timeline(&request).await.unwrap();
    assert_eq!(target.status(ttid).await.flush_lsn, end);
    donor.stop().await;
    target.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pull_leaves_nothing_behind() {
    let (donor, target) =
        (TestSafekeeper::start(), TestSafekeeper::start_with(2, "http://127.0.0.1:1", &[]));
    let ttid = new_ttid();
    // A timeline without WAL cannot be handed over.
    MiniProposer::connect(&donor, ttid, SYSTEM_ID).await;
    let error = target.http_client().pull_timeline(&pull_request(ttid, &[&donor])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("uninitialized timeline"), "{error}");
    let leftovers: Vec<_> = std::fs::read_dir(target.timeline_dir(ttid).parent().unwrap())
        .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
        .unwrap_or_default();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    donor.stop().await;
    target.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_same_wal_up_to_its_end() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let bytes = wal(START, LONG, b'a');
    let mut leader = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    let end = leader.push(START, &bytes).await;
    let client = safekeeper.http_client();
    let middle = START + wal(START, LONG / 2, b'a').len() as u64;
    for until_lsn in [middle, end] {
        let target = TenantTimelineId::new(ttid.tenant_id, TimelineId::generate());
        let request = TimelineCopyRequest { target_timeline_id: target.timeline_id, until_lsn };
        for _again in 0..2 {
            client.copy_timeline(ttid.tenant_id, ttid.timeline_id, &request).await.unwrap();
        }
        let status = safekeeper.status(target).await;
        assert_eq!((status.flush_lsn, status.commit_lsn), (until_lsn, until_lsn));
        assert_eq!(
            digest(&safekeeper, target, until_lsn).await,
            digest(&safekeeper, ttid, until_lsn).await
        );
        // A leader can go on where the copy ends.
        let (mut heir, greeting) = MiniProposer::connect(&safekeeper, target, SYSTEM_ID).await;
        let term = greeting.term + 1;
        assert_eq!(heir.vote(term).await.flush_lsn, until_lsn);
        heir.announce([(term, until_lsn)].into(), until_lsn, START).await;
        heir.push(until_lsn, &wal(until_lsn, 30_000, b'c')).await;
    }
    let beyond =
        TimelineCopyRequest { target_timeline_id: TimelineId::generate(), until_lsn: end + 8 };
    let error = client.copy_timeline(ttid.tenant_id, ttid.timeline_id, &beyond).await;
    assert!(error.unwrap_err().to_string().contains("400"));
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_segments_are_copied_within_the_archive_and_read_from_there() {
    let archive = tempfile::tempdir().unwrap();
    let storage = format!("--remote-storage={{local_path='{}'}}", archive.path().display());
    let safekeeper = TestSafekeeper::start_with(1, &start_broker().await, &[&storage]);
    let ttid = new_ttid();
    let mut leader = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    let end = leader.push(START, &wal(START, LONG, b'a')).await;
    eventually("both segments are archived", async || {
        safekeeper.status(ttid).await.backup_lsn.segment_number(SEGMENT_SIZE) == 3
    })
    .await;
    let info = SafekeeperTimelineInfo { remote_consistent_lsn: end, ..Default::default() };
    let client = safekeeper.http_client();
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    eventually("they are removed", async || safekeeper.segments(ttid).len() == 1).await;
    let target = TenantTimelineId::new(ttid.tenant_id, TimelineId::generate());
    let request = TimelineCopyRequest { target_timeline_id: target.timeline_id, until_lsn: end };
    client.copy_timeline(ttid.tenant_id, ttid.timeline_id, &request).await.unwrap();
    assert_eq!(safekeeper.segments(target).len(), 1);
    assert_eq!(digest(&safekeeper, target, end).await, digest(&safekeeper, ttid, end).await);
    safekeeper.stop().await;
}

async fn get_json(safekeeper: &TestSafekeeper, path: &str) -> serde_json::Value {
    let response = reqwest::get(format!("http://{}{path}", safekeeper.http)).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_debug_dump_shows_what_is_asked_for() {
    let safekeeper = TestSafekeeper::start();
    let (one, two) = (new_ttid(), new_ttid());
    let mut leader = MiniProposer::lead_from(&safekeeper, one, SYSTEM_ID, START).await;
    let end = leader.push(START, &wal(START, 50_000, b'a')).await;
    let _other = MiniProposer::lead_from(&safekeeper, two, SYSTEM_ID, START).await;
    let all = get_json(&safekeeper, "/v1/debug_dump?dump_all=true").await;
    assert_eq!(all["timelines_count"], 2);
    assert_eq!(all["timelines"].as_array().unwrap().len(), 2);
    assert_eq!(all["config"]["id"], 1);
    let path = format!("/v1/debug_dump?dump_all=true&timeline_id={}", one.timeline_id);
    let dump = get_json(&safekeeper, &path).await;
    assert_eq!(
        (&dump["timelines_count"], dump["timelines"].as_array().unwrap().len()),
        (&2.into(), 1)
    );
    let timeline = &dump["timelines"][0];
    assert_eq!(timeline["memory"]["flush_lsn"], end.to_string());
    assert_eq!(timeline["memory"]["mem_state"]["commit_lsn"], end.to_string());
    assert_eq!(timeline["control_file"]["acceptor_state"]["term_history"][0]["term"], 1);
    let names: Vec<_> = timeline["disk_content"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["000000010000000000000001.partial", "safekeeper.control"]);
    let small =
        get_json(&safekeeper, "/v1/debug_dump?dump_control_file=true&dump_term_history=false")
            .await;
    assert_eq!(small["timelines"][0]["memory"], serde_json::Value::Null);
    let history = &small["timelines"][0]["control_file"]["acceptor_state"]["term_history"];
    assert_eq!(history.as_array().unwrap().len(), 0);
    let url = format!("http://{}/v1/debug_dump?dump_everything=1", safekeeper.http);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 400);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patched_control_file_survives_a_restart() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut leader = MiniProposer::lead_from(&safekeeper, ttid, SYSTEM_ID, START).await;
    leader.push(START, &wal(START, 50_000, b'a')).await;
    let updates = serde_json::json!({"timeline_start_lsn": "0/1"}).as_object().unwrap().clone();
    let patch = ControlFilePatch { updates, apply_fields: vec!["timeline_start_lsn".to_owned()] };
    let client = safekeeper.http_client();
    let patched =
        client.patch_control_file(ttid.tenant_id, ttid.timeline_id, &patch).await.unwrap();
    assert_eq!(patched.old_control_file["timeline_start_lsn"], START.to_string());
    assert_eq!(patched.new_control_file["timeline_start_lsn"], "0/1");
    let safekeeper = safekeeper.crash_and_restart().await;
    assert_eq!(safekeeper.status(ttid).await.timeline_start_lsn, Lsn(1));
    safekeeper.stop().await;
}
