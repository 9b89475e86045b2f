use super::*;

#[test]
fn a_creation_request_needs_only_ids_version_and_commit_lsn() {
    let body = r#"{"tenant_id":"11111111111111111111111111111111",
        "timeline_id":"22222222222222222222222222222222","pg_version":150018,"commit_lsn":"0/0"}"#;
    let request: TimelineCreateRequest = serde_json::from_str(body).unwrap();
    assert_eq!(request.system_id, None);
    assert_eq!(request.wal_seg_size, None);
    assert_eq!(request.local_start_lsn, None);
    assert_eq!(request.commit_lsn, Lsn(0));
}

#[test]
fn absent_positions_of_a_hand_made_peer_info_are_zero() {
    let info: SafekeeperTimelineInfo =
        serde_json::from_str(r#"{"backup_lsn":"FFFFFFFF/FEFFFFFF"}"#).unwrap();
    assert_eq!(info.backup_lsn, Lsn(0xFFFF_FFFF_FEFF_FFFF));
    assert_eq!(info.commit_lsn, Lsn(0));
    assert_eq!(info.term, None);
}

#[test]
fn feedback_is_tagged_by_the_kind_of_reader() {
    let feedback = ReplicationFeedback::Standby(StandbyFeedback::default());
    let json = serde_json::to_value(feedback).unwrap();
    assert_eq!(json["Standby"]["reply"]["write_lsn"], "0/0");
    assert_eq!(json["Standby"]["hs_feedback"]["xmin"], 0);
}

#[test]
fn the_reply_time_of_a_pageserver_is_rfc_3339() {
    let feedback = ReplicationFeedback::Pageserver(PageserverFeedbackStatus {
        current_timeline_size: 1,
        last_received_lsn: Lsn(2),
        disk_consistent_lsn: Lsn(3),
        remote_consistent_lsn: Lsn(4),
        replytime: chrono::DateTime::from_timestamp(946_684_800, 0).unwrap(),
        shard_number: 0,
    });
    let json = serde_json::to_value(feedback).unwrap();
    assert_eq!(json["Pageserver"]["replytime"], "2000-01-01T00:00:00Z");
}
