//! The management API and the commands that tests of a whole system use.

mod common;

use common::proposer::MiniProposer;
use common::{TestSafekeeper, eventually, new_ttid};
use safekeeper_api::models::{SafekeeperTimelineInfo, TimelineCreateRequest};
use utils::{Lsn, NodeId};

fn create_request(ttid: utils::TenantTimelineId) -> TimelineCreateRequest {
    TimelineCreateRequest {
        tenant_id: ttid.tenant_id,
        timeline_id: ttid.timeline_id,
        peer_ids: None,
        pg_version: 150_018,
        system_id: None,
        wal_seg_size: None,
        commit_lsn: Lsn(0),
        local_start_lsn: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_created_shown_and_deleted() {
    let safekeeper = TestSafekeeper::start();
    let client = safekeeper.http_client();
    assert_eq!(client.status().await.unwrap().id, NodeId(1));
    let ttid = new_ttid();
    let missing = client.timeline_status(ttid.tenant_id, ttid.timeline_id).await.unwrap_err();
    assert!(missing.to_string().contains("404"), "{missing}");
    client.create_timeline(&create_request(ttid)).await.unwrap();
    client.create_timeline(&create_request(ttid)).await.unwrap();
    assert_eq!(safekeeper.status(ttid).await.pg_info.pg_version, 150_018);
    client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    let deleted = client.delete_timeline(ttid.tenant_id, ttid.timeline_id, false).await.unwrap();
    assert!(deleted.dir_existed);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_timeline_ends_its_sessions() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, 7, Lsn(0x100_0028)).await;
    let client = safekeeper.http_client();
    let deleted = client.delete_timeline(ttid.tenant_id, ttid.timeline_id, true).await.unwrap();
    assert!(deleted.dir_existed);
    let error = proposer.error().await;
    assert!(error.contains("was cancelled and cannot be used anymore"), "{error}");
    assert!(!safekeeper.timeline_dir(ttid).exists());
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_made_peer_info_shows_up_and_survives_a_checkpoint_and_a_restart() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let client = safekeeper.http_client();
    client.create_timeline(&create_request(ttid)).await.unwrap();
    let info = SafekeeperTimelineInfo {
        backup_lsn: Lsn(0xFFFF_FFFF_FEFF_FFFF),
        remote_consistent_lsn: Lsn(0x200_0000),
        ..Default::default()
    };
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    let safekeeper = safekeeper.crash_and_restart().await;
    let status = safekeeper.status(ttid).await;
    assert_eq!(status.backup_lsn, info.backup_lsn);
    assert_eq!(status.remote_consistent_lsn, info.remote_consistent_lsn);
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_ctrl_appends_a_record() {
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let begin = 0x16B_9188;
    let request = format!(
        r#"JSON_CTRL {{"lm_prefix":"prefix","lm_message":"message","set_commit_lsn":true,
        "send_proposer_elected":true,"term":2,"epoch_start_lsn":{begin},"begin_lsn":{begin},
        "truncate_lsn":{begin},"pg_version":150018}}"#
    );
    let mut client = safekeeper.connect_options(ttid, "test").connect().await.unwrap();
    let rows = client.simple_query(&request).await.unwrap();
    let reply: serde_json::Value = serde_json::from_str(rows[0].get(0).unwrap()).unwrap();
    assert_eq!(reply["inserted_wal"]["begin_lsn"], "0/16B9188");
    let end = reply["inserted_wal"]["end_lsn"].clone();
    assert_eq!(reply["inserted_wal"]["append_response"]["flush_lsn"], end);
    assert_eq!(reply["inserted_wal"]["append_response"]["term"], 2);
    assert_eq!(reply["state"]["acceptor_state"]["term"], 2);
    let rows = client.simple_query("TIMELINE_STATUS").await.unwrap();
    assert_eq!(rows[0].by_name("flush_lsn"), end.as_str());
    assert_eq!(rows[0].by_name("commit_lsn"), end.as_str());
    safekeeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_nobody_needs_are_removed() {
    let wal = common::stock::StockWal::generate();
    let safekeeper = TestSafekeeper::start();
    let ttid = new_ttid();
    let mut proposer = MiniProposer::lead_from(&safekeeper, ttid, wal.system_id, wal.start).await;
    let end = proposer.push(wal.start, &wal.bytes).await;
    let first = safekeeper
        .timeline_dir(ttid)
        .join(postgres_ffi::xlog::segment_file_name(wal.start.segment_number(16 << 20)));
    assert!(first.exists());
    let client = safekeeper.http_client();
    let info = SafekeeperTimelineInfo {
        remote_consistent_lsn: end,
        peer_horizon_lsn: end,
        ..Default::default()
    };
    client.record_safekeeper_info(ttid.tenant_id, ttid.timeline_id, &info).await.unwrap();
    client.checkpoint(ttid.tenant_id, ttid.timeline_id).await.unwrap();
    eventually("the first segment is removed", async || !first.exists()).await;
    let safekeeper = safekeeper.crash_and_restart().await;
    assert_eq!(safekeeper.status(ttid).await.flush_lsn, end);
    safekeeper.stop().await;
}
